"use strict";
(() => {
  const EVERY_MS = 3000;
  const by = (id) => document.getElementById(id);
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;

  const themes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a private window may not */ } };
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

  const offerCopies = () => {
    if (navigator.clipboard) for (const button of document.querySelectorAll(".copy")) button.hidden = false;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // What somebody reads with a keyboard or has marked stays as it is until they let go of it.
  const isHeld = (element) => {
    const marked = getSelection();
    return element.contains(document.activeElement)
      || (marked && !marked.isCollapsed && marked.containsNode(element, true));
  };
  const exchange = (fresh) => {
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    const served = new Map();
    for (const section of fresh.querySelectorAll("main > section")) served.set(section.id, section);
    for (const section of document.querySelectorAll("main > section")) {
      const now = served.get(section.id);
      // Buttons that the script showed are hidden in what is served, so compare what was served each time.
      if (now && section.served !== now.outerHTML && !isHeld(section)) {
        const html = now.outerHTML;
        section.replaceWith(now);
        now.served = html;
      }
    }
    offerCopies();
  };

  let answeredAt = new Date();
  const say = (silent) => {
    document.body.classList.toggle("silent", silent);
    by("silent").hidden = !silent;
    const at = answeredAt.toLocaleTimeString();
    if (silent) by("silent").textContent = `The daemon does not answer. What is shown was so at ${at}.`;
    by("live").textContent = silent ? "no answer" : "live";
  };
  const look = async () => {
    try {
      const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (new URL(answer.url).pathname !== "/") location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      answeredAt = new Date();
      say(false);
    } catch {
      say(true);
    }
  };
  let waiting = 0;
  const goOn = async () => {
    clearTimeout(waiting);
    if (document.hidden) return;
    await look();
    clearTimeout(waiting);
    waiting = setTimeout(goOn, EVERY_MS);
  };
  document.addEventListener("visibilitychange", goOn);
  say(false);
  offerCopies();
  waiting = setTimeout(goOn, EVERY_MS);
})();
