// What happened, row by row, in lanes; and arrows from what the chosen row follows from, and to what follows from it.

const LANES = ["clients", "guests", "jobs", "disks", "world"];
const CAUSES_MAX = 40;
const lanes = { rows: [], shown: new Set([0, 1, 2, 3, 4]), setUp: false, effects: [] };

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

function drawRows(choose) {
  const holder = element("div", { class: "rows" });
  lanes.rows = run.rows.map((row, at) => {
    const breaks = at === run.at;
    const made = element("div", { class: `row lane${row.l}${breaks ? " breaks" : ""}`, style: `--lane:${row.l}`, role: "listitem",
      id: `row${at}`, click: () => choose(at) },
      element("span", { class: "step" }, row.s === "0" ? "" : row.s), element("span", { class: "text" }, row.t));
    holder.append(made);
    return made;
  });
  holder.append(drawn("svg", { id: "arrows", "aria-hidden": "true" }));
  byId("lanes").replaceChildren(holder);
  // Of very many rows only those in sight are laid out; then arrows from others begin about where these are.
  byId("lanes").classList.toggle("many", run.rows.length > 3000);
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
  for (const to of lanes.effects[at]) links.push([at, to, "on"]);
  return links;
}

function arrow([from, to, kind]) {
  const [start, end] = [lanes.rows[from], lanes.rows[to]];
  if (start.hidden || end.hidden) return null;
  const [y1, y2] = [start.offsetTop + start.offsetHeight / 2, end.offsetTop + end.offsetHeight / 2];
  const bend = 54 - Math.min(40, 8 + Math.abs(y2 - y1) / 12);
  return drawn("path", { class: kind, d: `M56 ${y1} C${bend} ${y1} ${bend} ${y2} 52 ${y2} m-6 -4 l6 4 l-6 4` });
}

function markRows(at) {
  const links = linksAround(at);
  const causes = new Set(links.filter(([, , kind]) => kind === "").map(([from]) => from));
  const effects = new Set(lanes.effects[at]);
  lanes.rows.forEach((row, index) => {
    row.classList.toggle("now", index === at);
    row.classList.toggle("later", index > at);
    row.classList.toggle("cause", causes.has(index));
    row.classList.toggle("effect", effects.has(index));
    if (index === at) row.setAttribute("aria-current", "step"); else row.removeAttribute("aria-current");
  });
  const arrows = byId("arrows");
  arrows.replaceChildren(...links.map(arrow).filter(Boolean));
  const [box, row] = [byId("lanes"), lanes.rows[at]];
  if (row && !row.hidden) {
    const [top, bottom] = [row.offsetTop, row.offsetTop + row.offsetHeight];
    if (top < box.scrollTop || bottom > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
  }
}
