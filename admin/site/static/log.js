// A log as it comes. Lines are kept as text in blocks of a fixed height; only what is near the window is in the page, so
// that 100,000 lines are no more to draw than a hundred.
"use strict";

const section = document.getElementById("log");
const view = section.querySelector(".log-body");
const said = document.getElementById("log-said");
const follow = document.getElementById("log-follow");
const LINE = 20, BLOCK = 250;

class Log {
  constructor() {
    this.rows = Object.assign(document.createElement("div"), { className: "log-rows" });
    this.lines = [];   // each {html, at, system}
    this.blocks = [];  // each {element, first, count}
    this.partial = null;
    this.folded = true;
    this.setup = 0;    // lines of keruta's own before the script's first
    this.begun = false;
    this.near = new IntersectionObserver((entries) => { for (const entry of entries) this.draw(entry.target.block, entry.isIntersecting); }, { root: view, rootMargin: "1500px" });
    view.replaceChildren(this.rows);
  }

  add(event) {
    for (const html of event.lines) {
      if (!event.system) this.begun = true;
      else if (!this.begun) this.setup += 1;
      this.lines.push({ html, at: event.at, system: event.system });
    }
    this.partial = event.partial ? { html: event.partial, at: event.at, system: event.system } : null;
    this.layOut();
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
    block.element.style.height = this.hides(block) ? "0" : `${block.count * LINE}px`;
    block.element.hidden = this.hides(block);
  }

  hides(block) { return block.fold && this.folded && this.begun; }

  draw(block, wanted) {
    block.drawn = wanted;
    if (!wanted) { block.element.replaceChildren(); return; }
    const out = document.createDocumentFragment();
    for (let at = block.first; at < block.first + block.count; at += 1) out.append(this.row(at));
    block.element.replaceChildren(out);
  }

  row(at) {
    const line = this.lines[at];
    const element = document.createElement("div");
    element.className = `l${line.system ? " sys" : ""}${at === this.chosen ? " chosen" : ""}${this.hits?.has(at) ? " hit" : ""}`;
    const number = Object.assign(document.createElement("a"), { className: "n", href: `#L${at + 1}`, textContent: at + 1 });
    const when = Object.assign(document.createElement("span"), { className: "t", textContent: new Date(line.at).toLocaleTimeString() });
    const words = document.createElement("span");
    words.innerHTML = line.html;  // made by keruta, of escaped text and its own classes
    element.append(number, when, words);
    return element;
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
    if (at < this.setup && this.folded) { this.folded = false; this.refold(); }
    for (const block of this.blocks) if (block.drawn) this.draw(block, true);
    if (!scroll) return;
    follow.checked = false;
    const block = this.blocks.find((one) => at >= one.first && at < one.first + one.count);
    view.scrollTop = block.element.offsetTop - this.rows.offsetTop + (at - block.first) * LINE - view.clientHeight / 3;
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
document.getElementById("log-times").addEventListener("change", (event) => log?.rows.classList.toggle("timed", event.target.checked));
const field = document.getElementById("log-find"), found = document.getElementById("log-found");
let hits = [], hit = -1;
field.addEventListener("input", () => {
  hits = log?.find(field.value) ?? [];
  hit = -1;
  found.textContent = !field.value ? "" : hits.length ? section.dataset.found.replace("%(count)s", hits.length) : section.dataset.none;
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !hits.length) return;
  event.preventDefault();
  hit = (hit + (event.shiftKey ? -1 : 1) + hits.length) % hits.length;
  log.choose(hits[hit]);
});
connect();
