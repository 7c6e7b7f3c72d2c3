// What happened, row by row, in lanes; and arrows from what the chosen row follows from, and to what follows from it.

const LANES = ["clients", "guests", "jobs", "disks", "world"];
const CAUSES_MAX = 40;
// All that a guest ever does follows from its coming: arrows to all of it would show nothing, and take long.
const EFFECTS_MAX = 40;
const lanes = { rows: [], shown: new Set([0, 1, 2, 3, 4]), setUp: false, effects: [], at: -1, marked: [] };

function drawFilters(redraw) {
  const counts = LANES.map((_, lane) => run.rows.filter((row) => row.l === lane).length);
  const box = (name, isOn, flip, classes) => {
    const input = element("input", { type: "checkbox", checked: isOn });
    input.addEventListener("change", () => { flip(input.checked); redraw(); });
    return element("label", { class: classes }, input, ` ${name}`);
  };
  const flip = (lane) => (isOn) => (isOn ? lanes.shown.add(lane) : lanes.shown.delete(lane));
  byId("filters").append(
    ...LANES.map((name, lane) => box(`${name} (${counts[lane]})`, lanes.shown.has(lane), flip(lane), `lane-name lane${lane}`)),
    box(`set-up (${run.rows.filter((row) => row.f).length})`, lanes.setUp, (isOn) => { lanes.setUp = isOn; }, ""));
}

const isShown = (at) => {
  const row = run.rows[at];
  return at === run.at || (lanes.shown.has(row.l) && (lanes.setUp || !row.f));
};

// Of very many rows only the parts in sight are laid out.
const MANY_ROWS = 3000;
const PART_ROWS = 100;

function drawRows(choose) {
  const holder = element("div", { class: "rows" });
  lanes.rows = run.rows.map((row, at) => {
    const breaks = at === run.at;
    const marks = `${breaks ? " breaks" : ""}${suspects.has(at) ? " suspect" : ""}`;
    const made = element("div", { class: `row lane${row.l}${marks}`, style: `--lane:${row.l}`, role: "listitem",
      id: `row${at}`, click: () => choose(at) },
      element("span", { class: "step" }, row.s === "0" ? "" : row.s), element("span", { class: "text" }, row.t));
    return made;
  });
  const parts = lanes.rows.length > MANY_ROWS ? Math.ceil(lanes.rows.length / PART_ROWS) : 0;
  holder.append(...(parts ? Array.from({ length: parts }, (_, at) => element("div", { class: "part", role: "presentation" },
    lanes.rows.slice(at * PART_ROWS, (at + 1) * PART_ROWS))) : lanes.rows));
  holder.append(drawn("svg", { id: "arrows", "aria-hidden": "true" }));
  byId("lanes").replaceChildren(holder);
  [lanes.at, lanes.marked] = [-1, []];
  lanes.effects = run.rows.map(() => []);
  run.rows.forEach((row, at) => (row.c || []).forEach((cause) => lanes.effects[cause].push(at)));
  filterRows();
}

function filterRows() {
  lanes.rows.forEach((row, at) => { row.hidden = !isShown(at); row.style.display = isShown(at) ? "" : "none"; });
}

// What a row follows from, and what that follows from, the nearest first; and what follows from it at once.
function linksAround(at) {
  const links = [];
  const open = [at];
  const met = new Set(open);
  while (open.length && links.length < CAUSES_MAX) {
    const to = open.shift();
    for (const from of run.rows[to].c || []) {
      links.push([from, to, ""]);
      if (!met.has(from)) { met.add(from); open.push(from); }
    }
  }
  for (const to of lanes.effects[at].slice(0, EFFECTS_MAX)) links.push([at, to, "on"]);
  return links;
}

// The middle of a row, from the first one's top. In a part that is not laid out it is about where it will be.
function middleOf(at) {
  const [row, part] = [lanes.rows[at], lanes.rows[at].parentElement];
  const isFar = part.classList.contains("part") && Math.abs(at - lanes.at) > PART_ROWS;
  const box = (isFar ? part : row).getBoundingClientRect();
  return box.top - byId("arrows").parentElement.getBoundingClientRect().top + box.height * (isFar ? (at % PART_ROWS) / PART_ROWS : 0.5);
}

function arrow([from, to, kind]) {
  if (lanes.rows[from].hidden || lanes.rows[to].hidden) return null;
  const [y1, y2] = [middleOf(from), middleOf(to)];
  const bend = 54 - Math.min(40, 8 + Math.abs(y2 - y1) / 12);
  return drawn("path", { class: kind, d: `M56 ${y1} C${bend} ${y1} ${bend} ${y2} 52 ${y2} m-6 -4 l6 4 l-6 4` });
}

// Only the rows between the two moments change: of very many all others stay untouched.
function markLater(at) {
  const from = lanes.at < 0 ? -1 : Math.min(lanes.at, at);
  const to = lanes.at < 0 ? lanes.rows.length - 1 : Math.max(lanes.at, at);
  for (let index = from + 1; index <= to; index += 1) lanes.rows[index].classList.toggle("later", index > at);
  if (lanes.at >= 0) lanes.rows[lanes.at].removeAttribute("aria-current");
  lanes.rows[at].setAttribute("aria-current", "step");
  lanes.at = at;
}

function markRows(at) {
  const links = linksAround(at);
  markLater(at);
  for (const [index, kind] of lanes.marked) lanes.rows[index].classList.remove(kind);
  lanes.marked = [[at, "now"], ...links.map(([from, to, kind]) => (kind === "" ? [from, "cause"] : [to, "effect"]))];
  for (const [index, kind] of lanes.marked) lanes.rows[index].classList.add(kind);
  const arrows = byId("arrows");
  arrows.replaceChildren(...links.map(arrow).filter(Boolean));
  bringIntoSight(lanes.rows[at]);
  // Once its part is laid out, it may be elsewhere than it was thought to be.
  if (lanes.rows.length > MANY_ROWS) requestAnimationFrame(() => bringIntoSight(lanes.rows[lanes.at]));
}

function bringIntoSight(row) {
  if (!row || row.hidden) return;
  const box = byId("lanes");
  const [inside, outside] = [row.getBoundingClientRect(), box.getBoundingClientRect()];
  const isOut = inside.top < outside.top || inside.bottom > outside.bottom;
  if (isOut) box.scrollTop += inside.top - outside.top - box.clientHeight / 2;
}
