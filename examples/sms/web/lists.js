// The lists of the page: rows are kept by the message's id and changed in
// place, so that the focus, and what is selected, stay where they are.

let ahead = 0; // of this machine's clock is the server's, in milliseconds

export function setClock(now) { ahead = now - Date.now(); }

// age writes a time span as the server does.
function age(since) {
  return duration(Math.max(0, Math.floor((Date.now() + ahead - since) / 1000)));
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export function setText(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

export function updateAges() {
  for (const time of document.querySelectorAll("time[data-since]")) setText(time, age(Number(time.dataset.since)));
}

// priority writes a priority as the server does.
function priority(p) {
  return `${p < 0 ? "Urgent" : p > 0 ? "Low" : "Normal"} (${p})`;
}

function fill(row, message) {
  for (const cell of row.querySelectorAll("[data-text]")) {
    setText(cell, message[cell.dataset.text] ?? "");
    if (cell.title || cell.matches(".text, .why")) cell.title = cell.textContent;
  }
  for (const cell of row.querySelectorAll("[data-priority]")) setText(cell, priority(message.priority));
  for (const time of row.querySelectorAll("time[data-since]")) {
    time.dataset.since = message.since;
    setText(time, age(message.since));
  }
  for (const tries of row.querySelectorAll("[data-tries]")) {
    tries.title = message.trouble ?? "";
    if ("waits" in tries.dataset) setText(tries, message.attempts ? "retried" : "");
    else setText(tries, message.attempts > 1 ? `try ${message.attempts}` : "");
  }
  for (const cell of row.querySelectorAll("[data-outcome]")) setText(cell, message.state === "finished" ? "sent" : message.state);
  for (const form of row.querySelectorAll("form[data-path]")) form.setAttribute("action", form.dataset.path.replace("*", message.id));
  for (const button of row.querySelectorAll("[data-label]")) button.setAttribute("aria-label", button.dataset.label.replace("*", message.to));
  for (const button of row.querySelectorAll("[data-step]")) button.value = message.priority + Number(button.dataset.step);
}

// render makes the list called name show these messages, in this order.
function render(name, messages) {
  const body = document.getElementById(name);
  const template = document.getElementById(`row-${name}`);
  const rows = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const wanted = new Set(messages.map((message) => message.id));
  let next = body.rows[0] ?? null;
  for (const [id, row] of rows) {
    if (wanted.has(id)) continue;
    if (row === next) next = row.nextElementSibling;
    row.remove();
  }
  for (const message of messages) {
    let row = rows.get(message.id);
    if (!row) {
      row = template.content.querySelector("tr").cloneNode(true);
      row.dataset.id = message.id;
    }
    fill(row, message);
    if (row === next) next = row.nextElementSibling;
    else body.insertBefore(row, next);
  }
}

// renderAll shows the lists, by name. The focus follows its message, even into
// another list. If there is no such button it moves to the heading, and never to
// another message, which could then be canceled by accident.
export function renderAll(lists) {
  const focus = document.activeElement;
  const id = focus.closest("tr")?.dataset.id;
  const section = focus.closest("section");
  for (const name in lists) render(name, lists[name]);
  if (!id || (focus.isConnected && focus === document.activeElement)) return;
  const buttons = [...document.querySelectorAll(`tr[data-id="${id}"] button`)];
  const same = buttons.find((button) => button.textContent === focus.textContent);
  (same ?? section.querySelector("h2")).focus({ preventScroll: true });
}
