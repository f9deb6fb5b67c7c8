// A log as it comes. Lines are kept as text in blocks of a fixed height; only what is near the window is in the page, so
// that 100,000 lines are no more to draw than a hundred.
"use strict";

const section = document.getElementById("log");
const view = section.querySelector(".log-body");
const said = document.getElementById("log-said");
const follow = document.getElementById("log-follow");
const LINE = 20, BLOCK = 250;
const notes = document.getElementById("annotations");
const NOTES = 50;  // shown at the top; errors before warnings before notices
const LEVELS = { error: ["✕", "failed"], warning: ["!", "waiting"], notice: ["i", "running"] };

class Log {
  constructor() {
    this.rows = Object.assign(document.createElement("div"), { className: "log-rows" });
    this.lines = [];   // each {html, at, system, hide: by how many folded groups, group, level}
    this.open = [];    // groups that have not ended, outermost first
    this.notes = [];   // each {at, level, file, line, message}
    this.blocks = [];  // each {element, first, count}
    this.partial = null;
    this.folded = true;
    this.setup = 0;    // lines of keruta's own before the script's first
    this.begun = false;
    this.near = new IntersectionObserver((entries) => { for (const entry of entries) this.draw(entry.target.block, entry.isIntersecting); }, { root: view, rootMargin: "1500px" });
    this.rows.classList.toggle("timed", localStorage.getItem("keruta-log-times") === "1");
    view.replaceChildren(this.rows);
  }

  add(event) {
    const marks = new Map(event.marks), noted = this.notes.length;
    event.lines.forEach((html, number) => {
      if (!event.system) this.begun = true;
      else if (!this.begun) this.setup += 1;
      this.lines.push({ html, at: event.at, system: event.system, hide: 0 });
      if (marks.has(number)) this.mark(this.lines.length - 1, marks.get(number), Date.parse(event.at) / 1000);
    });
    if (this.notes.length > noted || !noted) this.tellNotes();
    this.partial = event.partial ? { html: event.partial, at: event.at, system: event.system } : null;
    this.layOut();
  }

  // What a line says beside its text: groups that end and begin, and errors.
  mark(at, mark, now) {
    if (mark.no_group && this.open.at(-1)?.first === at - 1) delete this.lines[this.open.pop().first].group;
    for (const end of mark.ends ?? []) {
      const found = this.open.findLastIndex((one) => end.name ? one.name === end.name : !one.flat && !one.name);
      if (found >= 0) for (const one of this.open.splice(found)) this.close(one, at - 1, end.at ?? now);
    }
    if (mark.hidden) this.lines[at].hide += 1;
    if (mark.group) {
      const { name = "", flat = false, folded } = mark.group;
      const same = this.open.findIndex((one) => flat ? one.flat : !name && !one.flat && !one.name);  // these do not nest
      if (same >= 0) for (const one of this.open.splice(same)) this.close(one, at - 1, now);
      this.lines[at].group = { first: at, last: null, name, flat, wish: folded, begun: mark.group.at ?? now, folded: false };
      this.open.push(this.lines[at].group);
    }
    if (mark.annotation) {
      this.lines[at].level = mark.annotation.level;
      this.notes.push({ at, ...mark.annotation });
      if (mark.annotation.level === "error") for (const one of this.open) one.error = true;
    }
  }

  // One that has ended folds, unless its writer asked otherwise, or an error is in it.
  close(group, last, now) {
    group.last = last;
    group.seconds = Math.max(0, now - group.begun);
    if (group.wish ?? !group.error) this.setFolded(group, true);
    this.touch(group.first, group.first);
  }

  setFolded(group, folded) {
    if (group.folded === folded || group.last === null) return;
    group.folded = folded;
    for (let at = group.first + 1; at <= group.last; at += 1) this.lines[at].hide += folded ? 1 : -1;
    this.touch(group.first, group.last);
  }

  touch(first, last) {
    for (const block of this.blocks) if (block.first <= last && block.first + block.count > first) { this.size(block); if (block.drawn) this.draw(block, true); }
  }

  show(at) {
    for (let one = at - 1; one >= 0 && this.lines[at].hide; one -= 1) {
      const { group } = this.lines[one];
      if (group?.folded && group.last >= at) this.setFolded(group, false);
    }
  }

  finish() { for (const one of this.open.splice(0)) { one.wish = false; this.close(one, this.lines.length - 1, Date.parse(this.lines.at(-1).at) / 1000); } }

  tellNotes() {
    const order = Object.keys(LEVELS), list = notes.querySelector("ul");
    const sorted = [...this.notes].sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level) || a.at - b.at);
    list.replaceChildren(...sorted.slice(0, NOTES).map(({ at, level, file, line, message }) => {
      const item = document.createElement("li"), link = Object.assign(document.createElement("a"), { href: `#L${at + 1}` });
      const sign = Object.assign(document.createElement("span"), { className: `state state-${LEVELS[level][1]}`, textContent: `${LEVELS[level][0]} ` });
      sign.append(Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: notes.dataset[level] }));
      if (file) link.append(Object.assign(document.createElement("code"), { textContent: line ? `${file}:${line}` : file }), " ");
      link.append(Object.assign(document.createElement("bdi"), { textContent: message }));
      item.append(sign, " ", link);
      return item;
    }));
    notes.querySelector("[data-more]").textContent = sorted.length > NOTES ? notes.dataset.more.replace("%(count)s", sorted.length - NOTES) : "";
    notes.hidden = !sorted.length;
  }

  layOut() {
    let last = this.blocks.at(-1);
    let from = last ? last.first + last.count : 0;
    while (from < this.lines.length) {
      const room = last ? BLOCK - last.count : 0;
      if (room > 0 && !(last.fold && this.begun)) {
        const more = Math.min(room, this.lines.length - from, last.fold ? Math.max(this.setup - from, 0) || room : room);
        last.count += more;
        from += more;
      } else {
        const fold = from < this.setup;
        last = { first: from, count: Math.min(BLOCK, (fold ? this.setup : this.lines.length) - from), fold };
        last.element = Object.assign(document.createElement("div"), { className: "block" });
        last.element.block = last;
        this.blocks.push(last);
        this.rows.insertBefore(last.element, this.last ?? null);
        this.near.observe(last.element);
        from += last.count;
      }
      last.stale = true;
    }
    for (const block of this.blocks) if (block.stale) { block.stale = false; this.size(block); if (block.drawn) this.draw(block, true); }
    this.tellSetup();
    this.tellPartial();
    if (follow.checked) view.scrollTop = view.scrollHeight;
  }

  size(block) {
    let shown = 0;
    for (let at = block.first; at < block.first + block.count; at += 1) if (!this.lines[at].hide) shown += 1;
    block.element.style.height = this.hides(block) ? "0" : `${shown * LINE}px`;
    block.element.hidden = this.hides(block);
  }

  hides(block) { return block.fold && this.folded && this.begun; }

  draw(block, wanted) {
    block.drawn = wanted;
    if (!wanted) { block.element.replaceChildren(); return; }
    const out = document.createDocumentFragment();
    for (let at = block.first; at < block.first + block.count; at += 1) if (!this.lines[at].hide) out.append(this.row(at));
    block.element.replaceChildren(out);
  }

  row(at) {
    const line = this.lines[at];
    const element = document.createElement("div");
    element.className = `l${line.level ? ` is-${line.level}` : ""}${line.group ? " opens" : ""}${line.system ? " sys" : ""}${at === this.chosen ? " chosen" : ""}${this.hits?.has(at) ? " hit" : ""}`;
    const number = Object.assign(document.createElement("a"), { className: "n", href: `#L${at + 1}`, textContent: at + 1 });
    const when = Object.assign(document.createElement("span"), { className: "t", textContent: new Date(line.at).toLocaleTimeString() });
    const words = document.createElement("span");
    words.innerHTML = line.html;  // made by keruta, of escaped text and its own classes
    element.append(number, when, line.group ? this.heading(line.group, words) : words);
    return element;
  }

  heading(group, words) {
    const head = Object.assign(document.createElement("span"), { className: "group-head" });
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: group.folded ? "▸" : "▾" });
    button.ariaExpanded = String(!group.folded);
    button.ariaLabel = words.textContent;
    button.disabled = group.last === null;
    button.addEventListener("click", () => { this.setFolded(group, !group.folded); this.rows.querySelector(`[href="#L${group.first + 1}"]`)?.parentElement.querySelector("button")?.focus(); });
    head.append(button, words);
    if (group.last !== null) head.append(Object.assign(document.createElement("span"), { className: "took", textContent: ` ${lasting(group.seconds)}` }));
    return head;
  }

  tellSetup() {
    if (!this.begun || !this.setup) return;
    if (!this.fold) {
      this.fold = Object.assign(document.createElement("button"), { type: "button", className: "fold" });
      this.fold.addEventListener("click", () => { this.folded = !this.folded; this.refold(); });
      this.rows.prepend(this.fold);
      this.refold();
    }
    this.fold.textContent = `${this.folded ? "▸" : "▾"} ${section.dataset.setup.replace("%(count)s", this.setup)}`;
    this.fold.ariaExpanded = String(!this.folded);
  }

  refold() { for (const block of this.blocks) if (block.fold) this.size(block); this.tellSetup(); }

  tellPartial() {
    if (!this.last) { this.last = Object.assign(document.createElement("div"), { className: "l" }); this.rows.append(this.last); }
    if (this.partial) this.last.innerHTML = `<span class="n"></span><span class="t"></span>${this.partial.html}`;
    else this.last.replaceChildren();
    this.last.hidden = !this.partial;
  }

  choose(at, scroll = true) {
    if (!(at >= 0 && at < this.lines.length)) return;
    this.chosen = at;
    this.show(at);
    if (at < this.setup && this.folded) { this.folded = false; this.refold(); }
    for (const block of this.blocks) if (block.drawn) this.draw(block, true);
    if (!scroll) return;
    follow.checked = false;
    const block = this.blocks.find((one) => at >= one.first && at < one.first + one.count);
    const before = this.lines.slice(block.first, at).filter((line) => !line.hide).length;
    view.scrollTop = block.element.offsetTop - this.rows.offsetTop + before * LINE - view.clientHeight / 3;
  }

  find(words) {
    const plain = document.createElement("template");
    const wanted = words.toLowerCase();
    this.hits = new Set();
    if (wanted) {
      this.lines.forEach((line, at) => {
        let html = line.html;
        if (html.includes("<") || html.includes("&")) { plain.innerHTML = html; html = plain.content.textContent; }
        if (html.toLowerCase().includes(wanted)) this.hits.add(at);
      });
    }
    for (const block of this.blocks) if (block.drawn) this.draw(block, true);
    return [...this.hits];
  }
}

// A notice of the browser's when the task ends, for who asks for it; then the stream stays open in a page that is hidden.
const notice = document.querySelector("[data-notice]");
let told = false;
if (notice && "Notification" in window) {
  notice.hidden = false;
  notice.addEventListener("click", async () => {
    told = (await Notification.requestPermission()) === "granted";
    if (told) { notice.textContent = notice.dataset.noticeOn; notice.disabled = true; }
  });
}

let log = null, attempt = 0, source = null, over = false, wantedLine = lineOf(location.hash);

function lineOf(hash) { const found = /^#L(\d+)$/.exec(hash); return found ? Number(found[1]) - 1 : null; }

function connect() {
  if (over || source) return;
  source = new EventSource(section.dataset.log);
  source.addEventListener("lines", (message) => {
    const event = JSON.parse(message.data);
    if (!log || event.attempt !== attempt) { log = new Log(); attempt = event.attempt; section.querySelector(".log-tools").hidden = false; if (wantedLine !== null) follow.checked = false; }
    log.add(event);
    document.getElementById("log-encoding").textContent = event.encoding && event.encoding !== "UTF-8" ? section.dataset.encoding.replace("%(encoding)s", event.encoding) : "";
    if (wantedLine !== null && wantedLine < log.lines.length) { log.choose(wantedLine); wantedLine = null; }
  });
  let first = true;
  source.addEventListener("status", () => { if (!first) document.dispatchEvent(new Event("keruta:changed")); first = false; });
  source.addEventListener("end", (message) => {
    over = true;
    log?.finish();
    if (told) new Notification(notice.dataset.notice, { body: section.dataset[`end${JSON.parse(message.data).status}`] ?? "", tag: location.pathname });
    source.close();
    if (!log) view.replaceChildren(Object.assign(document.createElement("p"), { className: "quiet m-2", textContent: section.dataset.nothing }));
    document.dispatchEvent(new Event("keruta:changed"));
  });
  source.addEventListener("closed", (message) => {  // the reader may read no more; the task goes on
    over = true;
    source.close();
    said.textContent = JSON.parse(message.data).message;
  });
  source.addEventListener("error", () => {
    said.textContent = section.dataset.connecting;
    if (source.readyState === EventSource.CLOSED) { source = null; setTimeout(again, 2000); }  // the browser gave up: a server that is just starting
  });
  source.addEventListener("open", () => { said.textContent = ""; });
}

// A new connection has no memory of the old one's last event: what was shown is shown anew.
function again() { if (!over && !source && !document.hidden) { log = null; connect(); } }

// A browser has few connections to one server: a page that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && told) return;
  if (document.hidden) { source?.close(); source = null; } else again();
});

window.addEventListener("hashchange", () => { const at = lineOf(location.hash); if (at !== null) log?.choose(at, false); });
view.addEventListener("scroll", () => {
  const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 3 * LINE;
  if (!atEnd && view.scrollTop < (view.lastTop ?? 0)) follow.checked = false;  // scrolled up: it is being read
  view.lastTop = view.scrollTop;
}, { passive: true });
follow.addEventListener("change", () => { if (follow.checked) view.scrollTop = view.scrollHeight; });
const times = document.getElementById("log-times");
times.checked = localStorage.getItem("keruta-log-times") === "1";
times.addEventListener("change", () => { localStorage.setItem("keruta-log-times", times.checked ? "1" : ""); log?.rows.classList.toggle("timed", times.checked); });
notes.addEventListener("click", (event) => {
  const at = lineOf(event.target.closest("a")?.hash ?? "");
  if (at === null || !log) return;
  event.preventDefault();
  history.replaceState(null, "", `#L${at + 1}`);
  log.choose(at);
  section.scrollIntoView({ block: "nearest" });
});
const field = document.getElementById("log-find"), found = document.getElementById("log-found");
let hits = [], hit = -1;
field.addEventListener("input", () => {
  hits = log?.find(field.value) ?? [];
  hit = -1;
  found.textContent = !field.value ? "" : hits.length ? section.dataset.found.replace("%(count)s", hits.length) : section.dataset.none;
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  step(event.shiftKey ? -1 : 1);
});
function step(by) {
  if (!hits.length) return;
  hit = hit < 0 && by < 0 ? hits.length - 1 : (hit + by + hits.length) % hits.length;
  found.textContent = `${hit + 1} / ${hits.length}`;
  log.choose(hits[hit]);
}
document.getElementById("log-next").addEventListener("click", () => step(1));
document.getElementById("log-previous").addEventListener("click", () => step(-1));
connect();
