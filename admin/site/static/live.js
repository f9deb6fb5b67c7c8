// Parts of a page that follow what they show. What has not changed stays as it is in the page, so that focus, a
// selection, marks, what is typed, what is open and how far it is scrolled stay, too.
"use strict";

{
  const EVERY = 3000, says = document.body.dataset;
  const keyOf = (node) => node.nodeType === 1 ? node.id || node.dataset.key || "" : "";
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
  const OWN = { DETAILS: ["open"], INPUT: ["value", "checked"], OPTION: ["selected"], DIALOG: ["open"] };  // the reader's

  function attributes(from, to) {
    const own = from.type === "hidden" ? [] : OWN[from.nodeName] ?? [];
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value && !own.includes(name)) from.setAttribute(name, value);
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !own.includes(name)) from.removeAttribute(name);
  }

  function morph(from, to) {
    if (from.nodeType !== 1) { if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue; return; }
    if (from.hasAttribute("data-keep")) return;
    attributes(from, to);
    if (from.nodeName === "TEXTAREA" || from.nodeName === "SELECT") return;
    const keyed = new Map([...from.children].filter(keyOf).map((one) => [keyOf(one), one]));
    let at = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      while (at && at.nodeType === 1 && at.matches(".restored, .not-sent")) at = at.nextSibling;  // of the reader's own
      const moved = keyOf(wanted) ? keyed.get(keyOf(wanted)) : null;
      if (at && alike(at, wanted)) { const here = at; at = at.nextSibling; morph(here, wanted); }
      else if (moved && alike(moved, wanted)) { from.insertBefore(moved, at); morph(moved, wanted); }
      else if (at && !keyOf(at) && !keyOf(wanted) && at.nodeType === 1 && alike(at.nextSibling ?? at, wanted)) {  // one has gone
        const gone = at; at = at.nextSibling; gone.remove();
        const here = at; at = at.nextSibling; morph(here, wanted);
      } else from.insertBefore(wanted, at);
    }
    while (at) { const gone = at; at = at.nextSibling; if (!(gone.nodeType === 1 && gone.matches(".restored, .not-sent"))) gone.remove(); }
  }

  const line = Object.assign(document.createElement("p"), { className: "stale alert alert-warning", hidden: true });
  line.setAttribute("role", "status");
  document.body.append(line);
  function say(text, link = null) {
    if (line.dataset.text === text) return;
    line.dataset.text = text;
    line.hidden = !text;
    line.textContent = `${text} `;
    if (link) line.append(link);
  }

  // A part is asked for by its name alone; "page" is all of it but what has `data-keep`.
  let over = false;
  async function refresh(part) {
    if (document.hidden || over || part.dataset.liveUntil === "ended" || part.busy) return;
    part.busy = true;
    try {
      const whole = part.dataset.live === "page";
      const answer = await fetch(location.pathname + location.search, { headers: { "X-Part": part.dataset.live }, redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 401) { over = true; say(says.liveSignedOut, signInLink(says.signIn)); return; }
      if (answer.status === 404 || answer.status === 403) { over = true; say(says.liveGone); return; }
      if (!answer.ok) { say(says.liveAway); return; }
      const made = new DOMParser().parseFromString(await answer.text(), "text/html");
      tellTimes(made);
      const wanted = whole ? made.getElementById(part.id) : Object.assign(part.cloneNode(false));
      if (!whole) wanted.replaceChildren(...made.body.childNodes);
      if (!wanted || part.querySelector("form[aria-busy]")) return;  // a form on its way stays
      morph(part, wanted);
      const menu = document.querySelector(".places ul"), menuThen = made.querySelector(".places ul");
      if (menu && menuThen) morph(menu, menuThen);
      for (const [selector, attribute] of [["title", null], ["link[rel=icon]", "href"]]) {
        const now = document.head.querySelector(selector), then = made.head.querySelector(selector);
        if (!then) continue;
        if (!attribute) { if (document.title !== then.textContent) document.title = then.textContent; }
        else if (now.getAttribute(attribute) !== then.getAttribute(attribute)) now.setAttribute(attribute, then.getAttribute(attribute));
      }
      say("");
      document.dispatchEvent(new Event("keruta:shown"));
    } catch { say(says.liveAway); } finally { part.busy = false; }
  }
  const parts = [...document.querySelectorAll("[data-live]")];
  const all = () => { parts.forEach(refresh); };
  for (const part of parts) setInterval(() => refresh(part), EVERY);
  document.addEventListener("keruta:changed", () => { for (const part of parts) part.dataset.liveUntil = ""; all(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { tellTimes(); all(); } });
}
