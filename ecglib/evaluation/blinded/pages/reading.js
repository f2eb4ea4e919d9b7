"use strict";
// A blinded reading: shows one sheet after another, keeps the answers in this browser, exports them as CSV.
// Nothing here, and nothing in the page, knows which sheet is real.

const at = (id) => document.getElementById(id);
const kit = JSON.parse(at("kit").textContent);   // {seal, fields, sheets: [{id, d}]}
const form = at("form");
const needed = ["answer", "confidence", "rhythm", "quality"];
const zooms = [1, 1.25, 1.5, 2, 3, 4];            // widths of the sheet, in widths of its window
let zoom = 0;
let state = null;                                 // {reader, current, answers: {sheet: {answer, …, when: in ms}}}

// ---- keeping

const place = (reader) => `ecg-reading ${kit.seal} ${reader}`;

function kept(text) {                             // the {current, answers} of a kept text; nothing is kept yet of null
  const { current, answers } = JSON.parse(text) ?? { answers: {} };
  if (typeof answers !== "object" || !answers) throw new SyntaxError("no answers");
  return { current: Number(current) || 0, answers };
}

function adopt(answers) {                         // of each sheet the newest answers: another tab may have given them
  for (const [id, given] of Object.entries(answers)) {
    if ((given?.when || 0) > (answersOf(id).when ?? -1)) state.answers[id] = given;
  }
}

function keep() {
  try {
    adopt(kept(localStorage.getItem(place(state.reader))).answers);
    localStorage.setItem(place(state.reader), JSON.stringify(state));
  } catch (error) {
    warn(error instanceof SyntaxError
      ? `What this browser keeps of ${state.reader} cannot be read. It is left as it is, and new answers are not kept: `
        + "please export before you close the page."
      : "Your answers could not be kept in this browser. Please export before you close the page.");
  }
}

addEventListener("storage", (event) => {          // another tab of this page has kept answers
  if (!state || event.key !== place(state.reader)) return;
  const before = state.answers[sheet().id];
  try { adopt(kept(event.newValue).answers); } catch (error) { return; }        // keep() says it
  if (state.answers[sheet().id] !== before) fill();
  report();
});

function warn(text) { at("notice").textContent = text; }

// ---- showing

const sheet = () => kit.sheets[state.current];
const answersOf = (id) => state.answers[id] || {};
const isOpen = (id) => needed.some((name) => !answersOf(id)[name]);
const openSheets = () => kit.sheets.filter((each) => isOpen(each.id));

function show(number) {
  state.current = Math.min(Math.max(number, 0), kit.sheets.length - 1);
  at("trace").setAttribute("d", sheet().d);
  at("sheet-name").textContent = `Sheet ${sheet().id}: twelve-lead ECG, 25 mm/s, 10 mm/mV`;
  at("window").scrollTo(0, 0);
  at("back").disabled = state.current === 0;
  at("next").disabled = at("next-below").disabled = state.current === kit.sheets.length - 1;
  if (at("notice").textContent.startsWith("Exported")) warn("");
  keep();
  fill();
  report();
}

function fill() {
  form.reset();
  const known = answersOf(sheet().id);
  for (const name of [...needed, "reason"]) if (known[name]) form.elements[name].value = known[name];
}

function report() {
  const open = openSheets().length;
  at("progress").textContent = `Sheet ${state.current + 1} of ${kit.sheets.length}: ${sheet().id} · `
    + (open ? `${kit.sheets.length - open} answered, ${open} open` : "all answered: please export");
  [...at("jump").options].forEach((option, k) => {
    option.textContent = `${k + 1} · ${kit.sheets[k].id} ${isOpen(kit.sheets[k].id) ? "open" : "✓"}`;
  });
  at("jump").value = state.current;
  at("open").disabled = open === 0;
  const words = { answer: "real or synthetic", confidence: "how sure", rhythm: "the rhythm", quality: "the quality" };
  const missing = needed.filter((name) => !answersOf(sheet().id)[name]).map((name) => words[name]);
  at("missing").textContent = missing.length ? `Still open: ${missing.join(", ")}.` : "✓ This sheet is answered.";
}

function nextOpen() {
  const after = kit.sheets.findIndex((each, k) => k > state.current && isOpen(each.id));
  const any = kit.sheets.findIndex((each) => isOpen(each.id));
  if (any >= 0) show(after >= 0 ? after : any);
}

function setZoom(step) {
  zoom = Math.min(Math.max(step, 0), zooms.length - 1);
  at("sheet").style.width = `${100 * zooms[zoom]}%`;
  at("zoom").textContent = `${Math.round(100 * zooms[zoom])} %`;
  at("smaller").disabled = zoom === 0;
  at("larger").disabled = zoom === zooms.length - 1;
}

// ---- answering

form.addEventListener("input", () => {
  const given = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  state.answers[sheet().id] = { ...given, when: Date.now() };
  keep();
  report();
});
form.addEventListener("submit", (event) => event.preventDefault());

// a rhythm picked from the open list is chosen, and single keys work again; letters and arrows change it step by step,
// so that only Enter or Escape says which is meant
let stepwise = false;
const leave = () => at("window").focus({ preventScroll: true });
at("rhythm").addEventListener("pointerdown", () => { stepwise = false; });
at("rhythm").addEventListener("keydown", () => { stepwise = true; });
at("rhythm").addEventListener("change", () => { if (!stepwise) leave(); });

function choose(name, value) {
  const radio = form.querySelector(`[name=${name}][value="${value}"]`);
  radio.click();                                  // fires "input" only if it was not chosen yet
  radio.focus({ preventScroll: true });
}

// ---- exporting

function cell(text) {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;   // a spreadsheet must not take it for a formula
  return `"${harmless.replaceAll('"', '""')}"`;
}

function csv() {
  const rows = kit.sheets.map(({ id }) => ({ seal: kit.seal, reader: state.reader, sheet: id, ...answersOf(id) }));
  const lines = rows.map((row) => kit.fields.map((field) => cell(row[field] || "")).join(","));
  return [kit.fields.join(","), ...lines].join("\r\n") + "\r\n";
}

function exportAnswers() {
  const open = openSheets().length;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
  link.download = `answers-${state.reader}${open ? "-open" : ""}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  warn(open ? `Exported, but ${open} sheets are still open: a form with open sheets is not analysed.`
            : `Exported as ${link.download}. Thank you. Please give the file to the study team.`);
}

// ---- keys

const actions = {
  r: () => choose("answer", "real"), s: () => choose("answer", "synthetic"),
  g: () => choose("quality", "good"), a: () => choose("quality", "acceptable"), p: () => choose("quality", "poor"),
  n: () => show(state.current + 1), b: () => show(state.current - 1), o: nextOpen,
  h: () => at("rhythm").focus(), w: () => at("reason").focus(),
  "+": () => setZoom(zoom + 1), "=": () => setZoom(zoom + 1), "-": () => setZoom(zoom - 1), 0: () => setZoom(0),
  "?": () => at("help").showModal(),
};
for (const number of "12345") actions[number] = () => choose("confidence", number);

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("select, textarea")) {
    const left = event.key === "Escape" || (event.key === "Enter" && event.target.matches("select"));
    if (left) { event.preventDefault(); leave(); }
    return;
  }
  const action = actions[event.key.toLowerCase()];
  if (!action || !at("keys").checked) return;
  event.preventDefault();
  action();
});

// ---- beginning

at("back").onclick = () => show(state.current - 1);
at("next").onclick = () => show(state.current + 1);
at("next-below").onclick = () => { show(state.current + 1); scrollTo(0, 0); };
at("open").onclick = nextOpen;
at("jump").onchange = () => show(Number(at("jump").value));
at("export").onclick = exportAnswers;
at("smaller").onclick = () => setZoom(zoom - 1);
at("larger").onclick = () => setZoom(zoom + 1);
at("fit").onclick = () => setZoom(0);
at("show-help").onclick = () => at("help").showModal();
at("other-reader").onclick = () => { at("help").close(); begin(""); };
at("start").addEventListener("close", () => { if (!state) begin(""); });      // Escape does not skip the code
at("start").querySelector("form").addEventListener("submit", () => {
  const reader = at("reader").value.toUpperCase();
  try { localStorage.setItem(place("last"), reader); } catch (error) { /* keep() says it */ }
  warn("");
  state = { reader, current: 0, answers: {} };
  try { Object.assign(state, kept(localStorage.getItem(place(reader)))); } catch (error) { /* keep() says it */ }
  show(state.current);
});

function begin(reader) {
  at("reader").value = reader;
  at("start").showModal();
}

at("jump").replaceChildren(...kit.sheets.map((_, k) => new Option("", k)));
at("seal").textContent = kit.seal;
setZoom(innerWidth < 700 ? 3 : 0);                // on a telephone the sheet scrolls sideways
let last = "";
try { last = localStorage.getItem(place("last")) || ""; } catch (error) { /* as above */ }
begin(last);
