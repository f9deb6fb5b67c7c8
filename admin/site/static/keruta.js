// What pages do more of with scripts; without, all of it works but for what is live.
"use strict";

const ago = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });
const chosenZone = document.body.dataset.zone, browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const exact = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long", timeZone: chosenZone });

// The server shows times in the browser's zone, too.
if (browserZone && !document.cookie.split("; ").includes(`keruta-zone=${browserZone}`)) {
  document.cookie = `keruta-zone=${browserZone}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
}
const STEPS = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [30 * 86400, "day", 86400], [365 * 86400, "month", 30 * 86400], [Infinity, "year", 365 * 86400]];

function relative(at) {
  const seconds = (at - Date.now()) / 1000;
  const [, unit, by] = STEPS.find(([most]) => Math.abs(seconds) < most);
  return ago.format(Math.trunc(seconds / by), unit);
}

function lasting(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

// A way to sign in, and back to this place.
function signInLink(text) {
  return Object.assign(document.createElement("a"), { href: `/auth/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`, textContent: text });
}

// What reads the same stays the same node: a selection over it stays.
function tell(element, text) { if (element.textContent !== text) element.textContent = text; }

// Times in the reader's zone: how long ago, and exactly on hover.
function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    tell(element, relative(at));
    element.title = exact.format(at);
  }
  for (const element of root.querySelectorAll("[data-since]")) {
    tell(element, lasting(Math.max(0, (Date.now() - new Date(element.dataset.since)) / 1000)));
  }
}
tellTimes();
setInterval(() => { if (!document.hidden) tellTimes(); }, 1000);

// Dark and light.
const themes = document.querySelector("[data-themes]");
if (themes) {
  themes.hidden = false;
  themes.addEventListener("click", (event) => {
    const choice = event.target.dataset.themeChoice;
    if (choice === undefined) return;
    document.cookie = `keruta-theme=${choice}; path=/; max-age=31536000; samesite=lax`;
    document.documentElement.dataset.theme = choice;
    document.documentElement.dataset.bsTheme = choice || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  });
}

// Views of the list that someone keeps, in this browser.
const views = document.querySelector("[data-views]");
if (views) {
  const kept = () => { try { return JSON.parse(localStorage.getItem("keruta-views") ?? "[]"); } catch { return []; } };
  const keep = (all) => { localStorage.setItem("keruta-views", JSON.stringify(all)); show(); };
  const show = () => {
    const list = views.querySelector("ul");
    list.replaceChildren(...kept().filter((one) => typeof one.query === "string" && one.query.startsWith("?")).map((one) => {
      const item = document.createElement("li");
      const link = Object.assign(document.createElement("a"), { href: `/tasks${one.query}`, textContent: one.name, className: "plain" });
      const gone = Object.assign(document.createElement("button"), { type: "button", textContent: "×", ariaLabel: `${views.dataset.remove}: ${one.name}` });
      gone.addEventListener("click", () => keep(kept().filter((other) => other.name !== one.name)));
      item.append(link, " ", gone);
      return item;
    }));
    views.hidden = !list.children.length && !location.search;
    views.querySelector("[data-keep-view]").hidden = !location.search;
  };
  views.querySelector("[data-keep-view]").addEventListener("click", () => {
    const name = prompt(views.dataset.name)?.trim();
    if (name) keep([...kept().filter((one) => one.name !== name), { name, query: location.search }]);
  });
  show();
}

// Filters leave what is empty out of the address.
document.querySelector("[data-filters]")?.addEventListener("submit", (event) => {
  const fields = event.target.elements;
  for (const field of event.target.querySelectorAll("input, select")) field.disabled = field.value === "";
  if (fields.zone) fields.zone.disabled = !fields.since.value && !fields.until.value;
});

// Line numbers beside a script that is being written.
for (const area of document.querySelectorAll("textarea[data-lines]")) {
  const editor = Object.assign(document.createElement("div"), { className: "editor" });
  const gutter = Object.assign(document.createElement("div"), { className: "gutter", ariaHidden: "true" });
  area.before(editor);
  editor.append(gutter, area);
  const number = () => { gutter.textContent = Array.from({ length: area.value.split("\n").length }, (_, at) => at + 1).join("\n"); gutter.scrollTop = area.scrollTop; };
  area.addEventListener("input", number);
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  area.addEventListener("keruta:filled", number);
  number();
}

// A text as it will read, below its form; once it was asked for, it follows what is typed.
const previewing = document.querySelector("button[data-preview]");
if (previewing) {
  const section = document.getElementById(previewing.dataset.preview);
  let newest = 0, soon = 0, following = false;
  const read = async () => {
    const mine = ++newest;
    try {
      const answer = await fetch(previewing.formAction, { method: "POST", body: new FormData(previewing.form), redirect: "manual" });
      if (!answer.ok || mine !== newest) return;
      const made = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-reading]");
      if (!made) return;
      section.querySelector("[data-reading]").replaceWith(made);
      section.hidden = false;
    } catch { /* away for a moment: with the next key */ }
  };
  previewing.addEventListener("click", (event) => {
    event.preventDefault();
    following = true;
    read().then(() => section.scrollIntoView({ block: "nearest" }));
  });
  previewing.form.addEventListener("input", () => {
    clearTimeout(soon);
    if (following) soon = setTimeout(read, 300);
  });
}

// Completion that the server gives: a field's list is asked for when the field that it depends on is known.
for (const field of document.querySelectorAll("input[data-complete]")) {
  const list = document.getElementById(field.getAttribute("list"));
  const of = document.getElementById(field.dataset.completeOf ?? "");
  let asked = null;
  const ask = async () => {
    const wanted = `${field.dataset.complete}?of=${encodeURIComponent(of?.value ?? "")}`;
    if (wanted === asked || (of && !of.value)) return;
    asked = wanted;
    try {
      const answer = await fetch(wanted);
      if (!answer.ok) return;
      list.replaceChildren(...(await answer.json()).map((value) => Object.assign(document.createElement("option"), { value })));
    } catch { asked = null; }
  };
  field.addEventListener("focus", ask);
}

// Asked before what can't be undone, or is done to more than is to be seen.
document.addEventListener("submit", (event) => {
  const { sure } = event.target.dataset;
  if (sure && event.target.elements.all?.checked && !confirm(sure)) event.preventDefault();
});

// What is to be pasted elsewhere.
function offerCopies() { for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard; }
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = button.dataset.done;
});
document.addEventListener("keruta:shown", offerCopies);
offerCopies();

// All of a list's marks at once.
function markAll() {
  const all = document.querySelector("[data-mark-all]");
  if (!all) return;
  const boxes = [...document.querySelectorAll("#many input[name=task]")], marked = boxes.filter((box) => box.checked).length;
  all.hidden = false;
  all.checked = marked > 0 && marked === boxes.length;
  all.indeterminate = marked > 0 && marked < boxes.length;
}
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-mark-all]")) for (const box of document.querySelectorAll("#many input[name=task]")) box.checked = event.target.checked;
  markAll();
});
document.addEventListener("keruta:shown", markAll);
markAll();
