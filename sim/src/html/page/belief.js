// What the judge believed: how many states explain the run so far, and which ways there were to what is seen now.

function wayItem(way) {
  const steps = way.steps.length ? way.steps.map((step) => `silently, ${step}`).join("; then ") : "nothing unseen before it";
  const verdict = way.no === undefined ? element("span", { class: "yes" }, " explains it")
    : element("span", { class: "no" }, ` does not explain it: ${way.no.split("\n")[0]}`);
  return element("li", {}, `state ${way.from + 1}: ${steps}.`, verdict);
}

function drawBelief(at) {
  const row = run.rows[at];
  if (!row) return element("p", {}, "nothing has happened yet");
  const ways = row.w === undefined ? [] : run.ways[row.w];
  const left = run.at === at && run.broken ? "No state is left that explains this: that is the verdict."
    : row.n === 0 ? "Nothing is judged here." : row.n === 1 ? "One state explains all that was seen so far."
    : `${row.n} states explain what was seen so far; the map and the graph show the first.`;
  const heading = ways.length ? `Ways to this row (${ways.filter((way) => way.no === undefined).length} of ${ways.length} explain it):` : "";
  return element("div", { "data-states": row.n }, element("p", { class: "seen" }, left),
    heading ? element("p", { class: "seen" }, heading) : null, element("ol", {}, ways.map(wayItem)));
}
