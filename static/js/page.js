// Every page: times in the reader's zone, copy buttons, menus, the search shortcut, confirmation dialogs.
document.documentElement.classList.add("js");

// The reader's own variant of the page's language: en-GB and en-US write times differently.
const language = navigator.languages.find((name) => name.startsWith(document.documentElement.lang)) || document.documentElement.lang;
// The account's time zone; the browser's when it is unknown or the browser does not support it.
const timeZone = knownZone(document.querySelector("[data-time-zone]")?.dataset.timeZone);
const shown = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short", timeZone });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium", timeZone });

function knownZone(name) {
  try {
    return name ? new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone : undefined;
  } catch {
    return undefined;
  }
}

// A date stays on one line; in narrow cells the time wraps below it. Russian has "2026 г.", which needs no "г.".
function written(moment, form = shown) {
  const [day, ...rest] = form.format(moment).replace(" г.,", ",").split(", ");
  return [day.replaceAll(" ", "\u00a0"), ...rest].join(", ");
}

function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    time.textContent = written(new Date(time.dateTime), time.dataset.local === "seconds" ? exact : shown);
  }
}

// Keeps "5 minutes ago" current; the server renders it first.
const relative = new Intl.RelativeTimeFormat(language, { numeric: "always" });
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function showAges(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const moment = new Date(time.dateTime);
    const seconds = (moment - Date.now()) / 1000;
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || ["second", 1];
    time.textContent = relative.format(Math.trunc(seconds / size), unit);
    time.title = `${written(moment)} · ${time.dateTime.replace("T", " ").replace("Z", " UTC")}`;
  }
}

// A toast, for results that do not change the page.
function toast(text) {
  const box = document.getElementById("toasts");
  const line = document.createElement("p");
  line.className = "toast";
  line.textContent = text;
  box.append(line);
  setTimeout(() => line.remove(), 4000);
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const before = button.textContent;
  try {
    // A list is copied line by line, each item with its name.
    const lines = [...source.querySelectorAll("[data-line]")].map((item) => item.dataset.line);
    await navigator.clipboard.writeText(lines.length ? lines.join("\n") : source.textContent);
  } catch {
    // Without HTTPS there is no clipboard API: select the text, so that one key press copies it.
    const selection = getSelection();
    selection.selectAllChildren(source);
    if (!document.execCommand("copy")) return;
    selection.removeAllRanges();
  }
  button.textContent = button.dataset.done;
  toast(button.dataset.done);
  button.dispatchEvent(new CustomEvent("copied", { bubbles: true }));
  setTimeout(() => { button.textContent = before; }, 2000);
}

showLocalTimes(document);
showAges(document);
setInterval(() => showAges(document), 30000);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

for (const field of document.querySelectorAll("[data-browser-zone]")) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
}

// Moves the focus to the first field with an error.
document.querySelector("main [aria-invalid=true]")?.focus();

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    dialog.showModal();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const box = document.querySelector(`[data-shortcut="${CSS.escape(event.key)}"]`);
  if (box && !event.target.closest("input, select, textarea")) {
    event.preventDefault();
    box.focus();
  }
});

// Prevents a second submission by a double click; the server rejects duplicates as well.
// Forms that open a tab or download a file can be submitted again.
for (const form of document.querySelectorAll('form[method="post"]:not([target], [data-saves])')) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
