// Reads {name: expression} on standard input; prints {name: [where the grammar of LogQL found an error]}.
import { readFileSync } from "node:fs";
import { parser } from "@grafana/lezer-logql";

const faults = {};
for (const [name, expression] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  faults[name] = [];
  parser.parse(expression).iterate({
    enter: (node) => {
      if (node.type.isError) faults[name].push(`${expression.slice(0, node.from)} >>> ${expression.slice(node.from)}`);
    },
  });
}
console.log(JSON.stringify(faults));
