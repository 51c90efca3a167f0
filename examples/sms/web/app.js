// The page without scripts works by forms; this keeps it up to date and sends
// the forms without leaving it.

import { duration, renderAll, setClock, setText, updateAges } from "./lists.js";

const $ = (id) => document.getElementById(id);

// --- What the server says ---

function show(s) {
  setClock(s.now);
  for (const count of document.querySelectorAll("[data-count]")) {
    const value = s[count.dataset.count];
    setText(count, { throughput: (v) => v.toFixed(1), emptyIn: span }[count.dataset.count]?.(value) ?? value);
  }
  $("s-failed").hidden = s.failed.length === 0;
  renderAll({ failed: s.failed, underway: s.underway, pending: s.pending, recent: s.recent });
  showMore("more-failed", s.failures - s.failed.length);
  showMore("more-pending", s.waiting - s.pending.length);
  setText($("trouble"), s.trouble);
  $("trouble").hidden = !s.trouble;
  $("stopping").hidden = s.state !== "stopping";
  showPipeline(s);
  summary = `${s.waiting} pending, ${s.inFlight} underway, ${s.sent} sent, ${s.failures} failed, ${s.state}`;
}

// span writes the time until the queue is empty as the server does.
function span(milliseconds) {
  if (milliseconds < 0) return "\u2013";
  return milliseconds === 0 ? "empty" : duration(Math.floor(milliseconds / 1000));
}

function showMore(id, more) {
  setText($(id), more > 0 ? `and ${more} more` : "");
}

function showPipeline(s) {
  $("idle").hidden = s.width !== 0 || s.state !== "running";
  setText($("state"), s.state);
  $("state").dataset.state = s.state;
  if (keeps("width")) $("width").value = s.width;
  if (keeps("perSecond")) $("perSecond").value = s.perSecond;
  $("narrower").value = Math.max(0, s.width - 1);
  $("wider").value = Math.min(s.width + 1, $("width").dataset.max);
  const paused = s.state === "paused";
  $("hold").setAttribute("action", paused ? "/resume" : "/pause");
  setText($("hold").querySelector("button"), paused ? "Resume" : "Pause");
}

// keeps reports whether a field may show the server's value: neither is a person
// about to change it, nor does it hold a wrong entry.
function keeps(id) {
  return document.activeElement !== $(id) && !$(id).hasAttribute("aria-invalid");
}

// A screen reader reads the summary now and then, not five times a second.
let summary = "";
setInterval(() => setText($("summary"), summary), 5000);
setInterval(updateAges, 1000);

function connect() {
  const events = new EventSource("/events");
  events.addEventListener("open", () => link(true));
  events.addEventListener("snapshot", (event) => show(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    link(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 3000); // refused: it does not try again by itself
  });
}

function link(live) {
  $("link").hidden = !live;
  $("gone").hidden = live;
  if (!live) $("stopping").hidden = true;
}

// --- What the person does ---

async function post(url, body) {
  try {
    const answer = await fetch(url, { method: "POST", headers: { Accept: "application/json" }, body });
    return { ok: answer.ok, ...(await answer.json()) };
  } catch {
    return { ok: false, detail: "The program does not answer. When it is back, look at the lists before you try again." };
  }
}

function notice(text) {
  setText($("notice"), text);
  $("notice").hidden = !text;
}

// mark shows what is wrong beside the fields, and returns the first of them.
function mark(fields, errors) {
  let first = null;
  for (const name of fields) {
    const wrong = errors?.find((e) => e.field === name)?.detail ?? "";
    setText($(`${name}-error`), wrong);
    if (wrong) $(name).setAttribute("aria-invalid", "true");
    else $(name).removeAttribute("aria-invalid");
    if (wrong) first ??= $(name);
  }
  return first;
}

const composed = ["to", "text", "priority"];

$("compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  if (button.getAttribute("aria-disabled")) return; // one message for two clicks
  button.setAttribute("aria-disabled", "true");
  const answer = await post("/messages", new URLSearchParams(new FormData(form)));
  button.removeAttribute("aria-disabled");
  notice("");
  const wrong = mark(composed, answer.errors);
  $("said").className = answer.ok ? "hint" : "error";
  if (answer.ok) {
    form.reset();
    count();
    setText($("said"), `In the queue: ${answer.to}`);
    $("to").focus();
  } else {
    setText($("said"), wrong ? "" : answer.detail);
    wrong?.focus();
  }
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("live" in form.dataset)) return;
  event.preventDefault();
  const answer = await post(form.getAttribute("action"), new URLSearchParams(new FormData(form, event.submitter)));
  const field = { "/width": "width", "/rate": "perSecond" }[form.getAttribute("action")];
  if (field) mark([field], answer.errors);
  notice(answer.ok || (field && answer.errors) ? "" : answer.detail);
});

// --- Characters ---

function length(text) {
  return [...text].length; // code points, as the server counts them
}

function count() {
  const max = Number($("text").dataset.max);
  const n = length($("text").value.trim());
  setText($("text-count"), n > max ? `${n - max} too many: ${n} of ${max} characters` : `${n} of ${max} characters`);
  $("text-count").classList.toggle("over", n > max);
}

$("text").addEventListener("input", count);
count();
connect();
