// What is typed into a form is kept in this browser until the server says that it has taken it, in a cookie with the
// draft's identity. Before a form is sent, the page asks whether its reader is still signed in.
"use strict";

{
  const KEY = "keruta-draft-", WEEK = 7 * 86400 * 1000, says = document.body.dataset;
  const read = (key) => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } };
  const drafts = () => Object.keys(localStorage).filter((key) => key.startsWith(KEY)).map((key) => [key, read(key)]);
  const drop = (key) => localStorage.removeItem(key);
  const keep = (key, draft) => { try { localStorage.setItem(key, JSON.stringify(draft)); } catch { /* full: it stays in the page */ } };
  const place = (form) => `${location.pathname}${location.search} ${new URL(form.action).pathname}`;
  const fields = (form) => [...form.elements].filter((field) => field.name && !field.dataset.secret && field.matches("input:not([type=hidden], [type=password], [type=file]), textarea, select"));

  const taken = /(?:^|; )keruta-taken=([0-9a-z]{8,32})/.exec(document.cookie)?.[1];
  if (taken) {
    drop(KEY + taken);
    document.cookie = "keruta-taken=; path=/; max-age=0";
  }
  for (const [key, draft] of drafts()) if (!draft || !(Date.now() - draft.at < WEEK)) drop(key);

  const known = new WeakMap();  // form → the key of its draft
  function draftOf(form) {
    if (known.has(form)) return known.get(form);
    const sent = form.elements.draft_id?.value;
    const found = sent ? KEY + sent : drafts().find(([, draft]) => draft.place === place(form) && draft.me === says.me)?.[0];
    const key = found ?? KEY + [...crypto.getRandomValues(new Uint8Array(10))].map((one) => one.toString(16).padStart(2, "0")).join("");
    known.set(form, key);
    return key;
  }

  function restore(form) {
    const draft = read(draftOf(form));
    if (!draft || draft.me !== says.me) return;
    let changed = false;
    for (const field of fields(form)) {
      if (!(field.name in draft.fields)) continue;
      const value = draft.fields[field.name];
      if (field.type === "checkbox") { changed ||= field.checked !== (value === true); field.checked = value === true; }
      else if (typeof value === "string" && field.value !== value) { field.value = value; changed = true; }
      field.dispatchEvent(new Event("keruta:filled"));
      for (let at = field.parentElement; at && at !== form; at = at.parentElement) if (at.matches("details") && value) at.open = true;
    }
    if (!changed) return;
    const note = Object.assign(document.createElement("p"), { className: "restored quiet", textContent: `${says.restored} ` });
    note.setAttribute("role", "status");
    const discard = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-sm btn-link", textContent: says.discard });
    discard.addEventListener("click", () => { drop(draftOf(form)); form.reset(); note.remove(); for (const field of fields(form)) field.dispatchEvent(new Event("keruta:filled")); });
    note.append(discard);
    form.prepend(note);
  }

  const isDrafted = (form) => form?.method === "post" && !form.hasAttribute("data-no-draft") && form.closest("main") && says.me;
  const begin = (root) => { for (const form of root.querySelectorAll("main form")) if (isDrafted(form) && fields(form).length && !known.has(form)) restore(form); };
  begin(document);
  document.addEventListener("keruta:shown", () => begin(document));  // a part of the page came later

  document.addEventListener("input", (event) => {
    const field = event.target, form = field.form;
    if (!isDrafted(form) || !fields(form).includes(field)) return;
    const key = draftOf(form), draft = read(key) ?? { fields: {} };
    draft.fields[field.name] = field.type === "checkbox" ? field.checked : field.value;
    keep(key, { ...draft, me: says.me, place: place(form), at: Date.now() });
  });

  function stop(form, text, link) {
    form.removeAttribute("aria-busy");
    form.querySelector(".not-sent")?.remove();
    const note = Object.assign(document.createElement("div"), { className: "not-sent alert alert-warning", textContent: `${text} ` });
    note.setAttribute("role", "alert");
    if (link) note.append(signInLink(link));
    form.prepend(note);
    note.scrollIntoView({ block: "nearest" });
  }

  const clear = new WeakSet();  // forms that may go now
  document.addEventListener("submit", async (event) => {
    const form = event.target, sender = event.submitter;
    if (!isDrafted(form) || clear.delete(form) || event.defaultPrevented || sender?.formTarget === "_blank") return;
    event.preventDefault();
    if (form.hasAttribute("aria-busy")) return;  // it is on its way: a second click sends nothing
    form.setAttribute("aria-busy", "true");
    let answer = null;
    try { answer = await fetch("/auth/session", { redirect: "manual" }); } catch { /* the server is away */ }
    if (answer?.status === 401) { stop(form, says.signedOut, says.signIn); return; }
    const now = answer?.ok ? await answer.json().catch(() => null) : null;
    if (!now) { stop(form, says.away); return; }
    if (now.me !== says.me) { stop(form, says.other.replace("%(name)s", now.name), says.signIn); return; }
    form.querySelector(".not-sent")?.remove();
    if (form.elements.form_token) form.elements.form_token.value = now.token;
    if (read(draftOf(form))) {
      const sent = form.elements.draft_id ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: "draft_id" }));
      sent.value = draftOf(form).slice(KEY.length);
    }
    clear.add(form);
    form.requestSubmit(sender?.form === form && !sender.disabled ? sender : undefined);
    clear.delete(form);
    setTimeout(() => form.removeAttribute("aria-busy"), 3000);  // the answer's page is there by then, or was a download
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[aria-busy]").forEach((form) => form.removeAttribute("aria-busy")));
}

// Signing in leads back to the line of a log that was asked for: what follows # reaches no server.
if (location.hash && location.pathname.startsWith("/auth/")) {
  for (const field of document.querySelectorAll("main input[name=next]")) field.value = field.value.replace(/#.*/, "") + location.hash;
  for (const link of document.querySelectorAll("main a[href^='/auth/start?next=']")) link.href += encodeURIComponent(location.hash);
}
