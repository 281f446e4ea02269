"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;

  const themes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a page from disk may not */ } };
  const show = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    by("theme").textContent = `Theme: ${theme}`;
  };
  let theme = themes.includes(remembered()) ? remembered() : "auto";
  show(theme);
  by("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    remember(theme);
    show(theme);
  });

  const filters = by("filters");
  if (!filters) return;
  const rows = [...document.querySelectorAll(".finding")].map((element) => ({
    element,
    kind: element.dataset.kind,
    severity: element.dataset.severity,
    held: "held" in element.dataset,
    text: element.textContent.toLowerCase(),
  }));
  // A browser takes seconds to lay out or hide thousands of findings, so only some are in the page at a time.
  const STEP = 200;
  const list = document.querySelector(".findings");
  let passing = rows;
  const draw = (most) => {
    list.replaceChildren(...passing.slice(0, most).map((row) => row.element));
    by("more").hidden = passing.length <= most;
  };
  const filter = () => {
    const kind = by("by-kind").value;
    const severity = by("by-severity").value;
    const words = by("by-text").value.toLowerCase().split(/\s+/);
    const held = by("by-held").checked;
    passing = rows.filter((row) => (!kind || row.kind === kind) && (!severity || row.severity === severity)
      && (!held || row.held) && words.every((word) => row.text.includes(word)));
    draw(STEP);
    by("shown").textContent = `${passing.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    by("none").hidden = passing.length > 0;
  };
  by("more").addEventListener("click", () => draw(list.children.length + STEP));
  filters.addEventListener("input", filter);
  filters.addEventListener("reset", () => setTimeout(filter));
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-directory], a[data-kind]");
    if (!link) return;
    filters.reset();
    by("by-text").value = link.dataset.directory ?? "";
    by("by-kind").value = link.dataset.kind ?? "";
    filter();
  });
  filter();

  let opened = [];
  addEventListener("beforeprint", () => {
    draw(passing.length);
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const element of opened) element.open = true;
  });
  addEventListener("afterprint", () => { for (const element of opened) element.open = false; });
})();
