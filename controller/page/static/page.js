// What a page is without it stays true: this fetches the page again when something has
// changed, and replaces what differs, so that focus, selection and scroll stay.
"use strict";
(() => {
  const live = document.getElementById("live");
  const say = (text) => { if (live.textContent !== text) live.textContent = text; };
  let version = document.body.dataset.version;
  let fetching = false, again = false;

  // key is what a node is known by among those beside it; a row by where it leads.
  const key = (node) => node.nodeType !== Node.ELEMENT_NODE ? "" :
    node.id || (node.tagName === "TR" && node.querySelector("a")?.getAttribute("href")) || "";
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

  // merge makes one node like another of the same kind.
  function merge(old, now) {
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== now.data) old.data = now.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) return;
    for (const a of [...old.attributes]) if (!now.hasAttribute(a.name)) old.removeAttribute(a.name);
    for (const a of now.attributes) if (old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
    // What is typed is the viewer's.
    if (old.tagName === "INPUT" || old.tagName === "SELECT" && old === document.activeElement) return;
    mergeChildren(old, now);
  }

  // mergeChildren moves as little as it can: what is moved loses the focus.
  function mergeChildren(old, now) {
    const known = new Map(), wanted = new Set();
    for (const node of old.childNodes) if (key(node)) known.set(key(node), node);
    for (const node of now.childNodes) if (key(node)) wanted.add(key(node));
    let at = old.firstChild;
    for (const node of [...now.childNodes]) {
      // What is not there any more makes room, as far as what is at hand is not alike.
      while (at && key(at) && !wanted.has(key(at))) at = drop(at);
      const mine = key(node) ? known.get(key(node)) : undefined;
      if (at && alike(at, node)) {
        merge(at, node);
        at = at.nextSibling;
      } else if (mine && alike(mine, node)) {
        while (at && at !== mine && !key(at)) at = drop(at);
        if (at === mine) at = at.nextSibling;
        else old.insertBefore(mine, at);
        merge(mine, node);
      } else {
        old.insertBefore(document.adoptNode(node), at);
      }
    }
    while (at) at = drop(at);
  }

  function drop(node) {
    const next = node.nextSibling;
    node.remove();
    return next;
  }

  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok || answer.status === 404) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        merge(document.querySelector("main"), page.querySelector("main"));
        merge(document.getElementById("as-of"), page.getElementById("as-of"));
        document.title = page.title;
        version = page.body.dataset.version;
      }
    } catch { /* the stream says that the connection is lost */ }
    fetching = false;
    if (again) { again = false; refresh(); }
  }

  function listen() {
    const stream = new EventSource("/events");
    stream.onmessage = (event) => {
      say(" (as it changes)");
      if (event.data !== version) refresh();
    };
    stream.onerror = () => {
      say(" (not connected: reload for the present)");
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    };
    addEventListener("pagehide", () => stream.close(), { once: true });
  }
  listen();
  addEventListener("pageshow", (event) => { if (event.persisted) { listen(); refresh(); } });

  // Filter while typing. The page is another after each, so what is on it is looked up.
  let typed;
  function filter(form, wait) {
    clearTimeout(typed);
    typed = setTimeout(() => {
      const query = new URLSearchParams(new FormData(form));
      for (const [name, value] of [...query]) if (!value) query.delete(name);
      history.replaceState(null, "", query.size ? "?" + query : location.pathname);
      refresh();
    }, wait);
  }
  document.addEventListener("input", (event) => { if (event.target.form?.id === "filter") filter(event.target.form, 150); });
  document.addEventListener("submit", (event) => {
    if (event.target.id === "filter") { event.preventDefault(); filter(event.target, 0); }
  });
})();
