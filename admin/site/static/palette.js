// The keyboard: / finds, g and a letter goes, ? or Ctrl-K opens the palette. Menus close by Escape and outside clicks.
"use strict";

{
  const places = [...document.querySelectorAll(".places a")];
  const KEYS = { o: "/", t: "/tasks", n: "/tasks/new", r: "/repositories", q: "/queues", p: "/profiles", d: "/documents", w: "/workers" };
  let before = "";
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
    if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); palette(); return; }
    if (event.key === "Escape") close(true);
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "/") { event.preventDefault(); document.getElementById("find")?.focus(); }
    else if (event.key === "?") { event.preventDefault(); palette(); }
    else if (before === "g" && KEYS[event.key]) location.href = KEYS[event.key];
    before = event.key;
  });

  function close(byKey, but = null) {
    for (const menu of document.querySelectorAll("details.pop[open]")) {
      if (menu.contains(but)) continue;
      if (byKey && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      menu.open = false;
    }
  }
  document.addEventListener("pointerdown", (event) => close(false, event.target));
  document.addEventListener("focusin", (event) => close(false, event.target));

  function palette() {
    if (!places.length || document.querySelector("dialog.palette")) return;
    const says = document.body.dataset;
    const dialog = Object.assign(document.createElement("dialog"), { className: "palette" });
    dialog.ariaLabel = says.palette;
    const field = Object.assign(document.createElement("input"), { type: "text", className: "form-control", autocomplete: "off", spellcheck: false });
    for (const [name, value] of [["role", "combobox"], ["aria-label", says.palette], ["aria-controls", "palette-list"], ["aria-expanded", "true"], ["aria-autocomplete", "list"], ["placeholder", says.palette]]) field.setAttribute(name, value);
    const list = Object.assign(document.createElement("ul"), { id: "palette-list" });
    list.setAttribute("role", "listbox");
    list.ariaLabel = says.palette;
    const fixed = [...places, ...document.querySelectorAll("a.new")].map((link) => ({ name: link.textContent.trim(), href: link.getAttribute("href"), kind: "" }));
    let found = [], chosen = 0, newest = 0, soon = 0;

    const choose = (at) => {
      const items = [...list.children];
      chosen = items.length ? (at + items.length) % items.length : 0;
      items.forEach((item, number) => { item.setAttribute("aria-selected", String(number === chosen)); item.classList.toggle("chosen", number === chosen); });
      items[chosen]?.scrollIntoView({ block: "nearest" });
      if (items[chosen]) field.setAttribute("aria-activedescendant", items[chosen].id); else field.removeAttribute("aria-activedescendant");
    };
    const show = () => {
      const wanted = field.value.trim().toLowerCase();
      const own = fixed.filter(({ name, href }) => name.toLowerCase().includes(wanted) || href.includes(wanted));
      list.replaceChildren(...[...own, ...found].map(({ name, href, kind }, at) => {
        const item = Object.assign(document.createElement("li"), { id: `palette-${at}` });
        item.setAttribute("role", "option");
        const link = Object.assign(document.createElement("a"), { href, tabIndex: -1 });
        link.append(Object.assign(document.createElement("bdi"), { textContent: name }), Object.assign(document.createElement("span"), { className: "quiet", textContent: kind }));
        item.append(link);
        return item;
      }));
      if (!list.children.length) list.append(Object.assign(document.createElement("li"), { className: "quiet", textContent: says.nothing }));
      choose(0);
    };
    const ask = async () => {
      const mine = ++newest, words = field.value.trim();
      let got = [];
      try {
        const answer = words ? await fetch(`/find?q=${encodeURIComponent(words)}`, { redirect: "manual" }) : null;
        if (answer?.ok) got = await answer.json();
      } catch { /* the places are there */ }
      if (mine === newest) { found = got; show(); }
    };
    field.addEventListener("input", () => { found = []; show(); clearTimeout(soon); soon = setTimeout(ask, 150); });
    field.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) { event.preventDefault(); choose(chosen + step); }
      else if (event.key === "Enter") { event.preventDefault(); list.children[chosen]?.querySelector("a")?.click(); }
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => dialog.remove());
    dialog.append(field, list);
    document.body.append(dialog);
    show();
    dialog.showModal();
    field.focus();
  }
}
