// Where the reader is, and how to get elsewhere; begins the page.

let now = 0;

function drawHead() {
  document.body.classList.toggle("broken", run.broken);
  byId("origin").textContent = `${run.title}; ${run.origin}`;
  byId("verdict").textContent = run.broken ? "BROKEN" : "PASSED";
  byId("law").textContent = run.broken ? run.law : "no law was broken in this run";
  byId("what").textContent = run.what;
  byId("why").textContent = run.why ? `Why it is a law: ${run.why}.` : "";
  byId("detail").textContent = [run.what, run.detail].filter(Boolean).join("\n");
  byId("repro").textContent = run.repro.join("\n");
  byId("setup").textContent = run.setup;
  byId("breaks").hidden = run.at === null;
  byId("differs").replaceChildren(...run.absent.map(absentItem), ...differingRuns().slice(0, 6).map(differsItem));
}

// The rows that the head of the page points at: they are marked wherever the reader is.
const suspects = new Set();

function linkTo(at, text) {
  suspects.add(at);
  return element("button", { class: "link", click: () => choose(at) }, text);
}

// The flush that did not come, with the write that it should have followed.
function absentItem(absent) {
  return element("li", { "data-absent": absent.text }, `${absent.text}: `, linkTo(absent.row, run.rows[absent.row].t));
}

// Sectors side by side that differ in the same way are one line.
function differingRuns() {
  const runs = [];
  for (const differs of run.differs) {
    const last = runs[runs.length - 1];
    const isSame = last && last.image === differs.image && last.to + 1 === differs.sector
      && last.found === differs.found && last.expected.join() === differs.expected.join();
    if (isSame) last.to = differs.sector;
    else runs.push({ ...differs, to: differs.sector });
  }
  return runs;
}

function differsItem(differs) {
  const file = run.images[differs.image].file;
  const word = (value) => (value === "0" ? "zeroes" : value);
  const where = differs.to > differs.sector ? `sectors ${differs.sector} to ${differs.to}` : `sector ${differs.sector}`;
  const item = element("li", {}, `${where} seen through ${shortFile(file)}: must be ${differs.expected.map(word).join(" or ")}, found ${word(differs.found)}`);
  const text = ({ s, t }) => (s === "0" || s === "" ? t : `step ${s}, ${t}`);
  const link = (at) => linkTo(at, text(run.rows[at]));
  const changes = (at) => (run.rows[at].d || []).some(([image, sector]) => image === differs.image && sector === differs.sector);
  for (const cause of (run.rows[run.at].c || []).filter(changes)) item.append(" — it must be so since ", link(cause));
  item.append(...fateParts(differs, file, link));
  return item;
}

function choose(at) {
  if (run.rows.length === 0) return;
  now = Math.max(0, Math.min(run.rows.length - 1, at));
  const row = run.rows[now];
  byId("scrubber").value = now;
  byId("now").textContent = `${now + 1} of ${run.rows.length}, ${row.s === "0" ? "" : `step ${row.s}, `}${LANES[row.l]}: ${row.t}`;
  byId("now").classList.toggle("bad", now === run.at);
  byId("link").textContent = byId("link").hash = `#r${now}`;
  remember();
  const before = now > 0 ? run.graphs[run.rows[now - 1].g] : undefined;
  byId("graph").replaceChildren(drawGraph(run.graphs[row.g], before));
  byId("jobs").replaceChildren(...run.jobs[row.j].map((line) => element("li", {}, line)));
  drawDisk(now);
  byId("belief").replaceChildren(drawBelief(now));
  markRows(now);
}

// The address says where the reader is. Viewers that show a page within one of theirs do not allow that.
function remember() {
  try { history.replaceState(null, "", `#r${now}`); } catch { /* the link above says it as well */ }
}

// The next row that passes, in one direction, of those that are shown.
function next(from, by, passes) {
  for (let at = from + by; at >= 0 && at < run.rows.length; at += by) if (isShown(at) && passes(run.rows[at])) return at;
  return from;
}

function search(text, from) {
  const wanted = text.toLowerCase();
  for (let step = 1; step <= run.rows.length; step += 1) {
    const at = (from + step) % run.rows.length;
    if (isShown(at) && run.rows[at].t.toLowerCase().includes(wanted)) return choose(at);
  }
}

const all = () => true;
const moves = {
  ArrowRight: () => choose(next(now, 1, all)), ArrowDown: () => choose(next(now, 1, all)),
  ArrowLeft: () => choose(next(now, -1, all)), ArrowUp: () => choose(next(now, -1, all)),
  n: () => choose(next(now, 1, (row) => row.k)), p: () => choose(next(now, -1, (row) => row.k)),
  b: () => { if (run.at !== null) choose(run.at); },
  Home: () => choose(next(-1, 1, all)), End: () => choose(next(run.rows.length, -1, all)),
  "/": () => byId("search").focus(),
};

function listen() {
  const buttons = { first: "Home", "before-choice": "p", before: "ArrowLeft", after: "ArrowRight", "after-choice": "n", last: "End", breaks: "b" };
  for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", moves[key]);
  byId("scrubber").max = Math.max(0, run.rows.length - 1);
  byId("scrubber").addEventListener("input", (event) => choose(Number(event.target.value)));
  byId("search").addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") search(event.target.value, now);
    if (event.key === "Escape") event.target.blur();
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof HTMLInputElement && event.target.type === "search";
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  // The chain has as many columns as there is room for, and arrows end where rows are.
  addEventListener("resize", () => choose(now));
  addEventListener("hashchange", () => choose(asked() ?? now));
}

function asked() {
  const number = location.hash.match(/^#r(\d+)$/);
  return number ? Number(number[1]) : undefined;
}

// The rows of two runs side by side: what both have stands in one line.
function aligned(left, right) {
  let same = 0;
  while (same < left.length && same < right.length && left[same].t === right[same].t) same += 1;
  const pairs = left.slice(0, same).map((row, at) => [row, right[at]]);
  const [rest, others] = [left.slice(same), right.slice(same)];
  if (rest.length * others.length > 4e6) return pairs.concat(rest.map((row, at) => [row, others[at]]));
  const best = Array.from({ length: rest.length + 1 }, () => new Uint16Array(others.length + 1));
  for (let i = rest.length - 1; i >= 0; i -= 1) for (let j = others.length - 1; j >= 0; j -= 1)
    best[i][j] = rest[i].t === others[j].t ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  let [i, j] = [0, 0];
  while (i < rest.length || j < others.length) {
    if (i < rest.length && j < others.length && rest[i].t === others[j].t) pairs.push([rest[i++], others[j++]]);
    else if (j >= others.length || (i < rest.length && best[i + 1][j] >= best[i][j + 1])) pairs.push([rest[i++], undefined]);
    else pairs.push([undefined, others[j++]]);
  }
  return pairs;
}

function drawBeside() {
  const other = run.beside;
  if (!other) return;
  const rows = aligned(run.rows.filter((row) => !row.f), other.rows.filter((row) => !row.f));
  const cell = (row) => element("td", {}, row ? `${row.s} ${row.t}` : "");
  byId("beside").hidden = false;
  byId("beside").append(element("h2", {}, "Beside the nearest run that ends otherwise"), element("p", {}, other.choice),
    element("table", {}, element("tr", {}, element("th", {}, `this run: ${run.law}`), element("th", {}, `${other.title}: ${other.law}`)),
      rows.map(([left, right]) => element("tr", { class: left && right ? "" : "other" }, cell(left), cell(right)))));
}

drawHead();
drawFilters(() => { filterRows(); markRows(now); });
drawRows(choose);
listen();
drawBeside();
choose(asked() ?? run.at ?? run.rows.length - 1);
