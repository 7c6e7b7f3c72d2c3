// The chain as a graph: overlays above what they stand on, guests above their nodes, links that jobs froze thick.

const BOX = { width: 160, height: 40, across: 176, down: 80, top: 26, line: 15, letter: 7.2 };

// Protocol nodes say nothing that their format nodes do not, unless somebody uses them by themselves.
function shownNodes(graph) {
  const used = new Set(graph.users.map((user) => user.node));
  return graph.nodes.filter((node) => node.driver !== "file" || used.has(node.id) || node.held.length > 0);
}

function placed(nodes, columnsMax) {
  const byNumber = new Map(nodes.map((node) => [node.id, node]));
  const childrenOf = (node) => node.to.map(([, id]) => byNumber.get(id)).filter(Boolean);
  const below = new Set(nodes.flatMap((node) => childrenOf(node).map((child) => child.id)));
  const places = new Map();
  let columns = 0;
  // Columns that hang together, from their first one.
  const trees = [];
  const put = (node, rank, column) => {
    const old = places.get(node.id);
    while (old && old.column < trees[trees.length - 1]) trees.pop();
    if (old && old.rank >= rank) return;
    if (rank > nodes.length) return;
    places.set(node.id, { rank, column: old ? old.column : column });
    const children = childrenOf(node);
    // The chain itself goes straight down, a target stands beside it.
    const order = node.to.filter(([role]) => role !== "target").concat(node.to.filter(([role]) => role === "target"));
    let first = true;
    for (const child of order.map(([, id]) => byNumber.get(id)).filter((child) => children.includes(child))) {
      const known = places.get(child.id);
      put(child, rank + 1, first ? column : known ? known.column : ++columns);
      first = false;
    }
  };
  let isFirst = true;
  for (const root of nodes.filter((node) => !below.has(node.id))) {
    trees.push(isFirst ? 0 : ++columns);
    put(root, 0, columns);
    isFirst = false;
  }
  // Nodes that only ring each other have no root: a graph like that is a finding by itself.
  for (const node of nodes) if (!places.has(node.id)) places.set(node.id, { rank: 0, column: ++columns });
  return wrapped(places, trees, columns + 1, columnsMax);
}

// What has no room beside the trees before it goes below them.
function wrapped(places, trees, columns, columnsMax) {
  let [right, top, bottom] = [0, 0, 0];
  trees.forEach((from, at) => {
    const end = at + 1 < trees.length ? trees[at + 1] : columns;
    if (right > 0 && right + end - from > columnsMax) [right, top] = [0, bottom];
    const inside = [...places.entries()].filter(([, place]) => place.tree === undefined && place.column >= from && place.column < end);
    for (const [id, place] of inside) {
      places.set(id, { tree: from, rank: place.rank + top, column: place.column - from + right });
      bottom = Math.max(bottom, place.rank + top + 1);
    }
    right += end - from;
  });
  return places;
}

// Nodes whose links change between two moments, and those that users leave for others. No request is inside such a node at
// that moment: each has left before it, or enters after it. Commands and jobs drain them for that.
function drainedNodes(graph, before) {
  const linksOf = (node) => node.to.map(([role, id]) => `${role} ${id}`).join();
  const usersOf = (graph, id) => graph.users.filter((user) => user.node === id).map((user) => user.name);
  const old = new Map(before.nodes.map((node) => [node.id, node]));
  const moved = before.users.filter((user) => graph.users.some((other) => other.name === user.name && other.node !== user.node))
    .map((user) => user.name);
  const isDrained = (node) => (old.has(node.id) && linksOf(old.get(node.id)) !== linksOf(node))
    || [...usersOf(graph, node.id), ...usersOf(before, node.id)].some((user) => moved.includes(user));
  return new Set(graph.nodes.filter(isDrained).map((node) => node.id));
}

function nodeBox(node, place, isNew, isDrained) {
  const classes = ["box", node.ro ? "" : "writable", node.filter ? "filter" : "", node.held.length ? "held" : "", isDrained ? "drained" : ""];
  const what = `${node.driver}${node.ro ? ", read-only" : ", writable"}`;
  const held = node.held.join(", ");
  const label = `node ${node.name}: ${what}${held ? `; held by ${held}` : ""}${isDrained ? "; drained for this change" : ""}`;
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  return drawn("g", { class: isNew ? "new" : "", "data-node": node.name, "data-drained": isDrained, role: "img", "aria-label": label },
    drawn("title", {}, label),
    drawn("rect", { class: classes.join(" "), x: place.x, y: place.y, width: BOX.width, height: BOX.height, rx: 5 }),
    drawn("text", { x: place.x + 8, y: place.y + 16 }, short(node.name, 14)),
    drawn("text", { x: place.x + BOX.width - 6, y: place.y + 16, "text-anchor": "end", class: "soft" },
      short(`${node.driver}${node.ro ? " ro" : ""}`, 16)),
    drawn("text", { x: place.x + 8, y: place.y + 33, class: "soft" }, short(held, 22)));
}

function edgeLine(node, [role, to, frozen], at) {
  const [from, end] = [at.get(node.id), at.get(to)];
  if (!from || !end) return null;
  const classes = `edge ${role}${frozen.length ? " frozen" : ""}`;
  const [x1, y1, x2, y2] = [from.x + BOX.width / 2, from.y + BOX.height, end.x + BOX.width / 2, end.y];
  const straight = end.y > from.y ? `M${x1} ${y1} L${x2} ${y2}` : `M${x1} ${y1} C${x1 + 40} ${y1 + 40} ${x2 + 40} ${y2 - 40} ${x2} ${y2}`;
  const words = [role === "backing" ? "" : role, frozen.length ? `frozen by ${frozen.join(", ")}` : ""].filter(Boolean).join(", ");
  return drawn("g", { "data-link": `${node.name} ${role}`, "data-frozen": frozen.join(" ") || undefined },
    drawn("path", { class: classes, d: straight }),
    drawn("text", { class: frozen.length ? "frozen-name" : "soft", x: (x1 + x2) / 2 + 6, y: (y1 + y2) / 2 }, words));
}

// A user of a node. A long name is drawn narrower: beside the last column there is no room.
function userLine(text, x, y) {
  const line = drawn("text", { class: "user", x, y }, text);
  if (text.length * BOX.letter > BOX.width) { line.setAttribute("textLength", BOX.width); line.setAttribute("lengthAdjust", "spacingAndGlyphs"); }
  return line;
}

function drawGraph(graph, before) {
  if (graph.nodes.length === 0) return element("p", { class: "legend" }, "no node is known here");
  const nodes = shownNodes(graph);
  const places = placed(nodes, Math.floor(byId("graph").clientWidth / BOX.across) || Infinity);
  const known = new Set((before || graph).nodes.map((node) => node.id));
  const usersOf = new Map(nodes.map((node) => [node.id, graph.users.filter((user) => user.node === node.id)]));
  // A line for each user: all boxes make room for as many as there are at one.
  const room = BOX.line * Math.max(0, ...[...usersOf.values()].map((users) => users.length - 1));
  const at = new Map([...places].map(([id, { rank, column }]) => [id, { x: 4 + column * BOX.across, y: BOX.top + room + rank * (BOX.down + room) }]));
  const right = Math.max(...[...at.values()].map((place) => place.x)) + BOX.width + 4;
  const bottom = Math.max(...[...at.values()].map((place) => place.y)) + BOX.height + 4;
  const users = nodes.filter((node) => usersOf.get(node.id).length).map((node) => {
    const place = at.get(node.id);
    return drawn("g", { "data-users": node.name }, usersOf.get(node.id).map((user, line) =>
      userLine(`▼ ${user.name}${user.w ? " (writes)" : ""}`, place.x + 4, place.y - 6 - line * BOX.line)));
  });
  const drained = drainedNodes(graph, before || graph);
  const edges = nodes.flatMap((node) => node.to.map((link) => edgeLine(node, link, at)));
  const chains = chainTexts(graph);
  return element("div", {},
    element("p", { class: "legend", id: "chain-text" }, chains.join("; ")),
    drawn("svg", { viewBox: `0 0 ${right} ${bottom}`, width: right, height: bottom, style: `min-width:${Math.round(right * 0.85)}px`, role: "group", "aria-label": `the chain: ${chains.join("; ")}` },
      edges, nodes.map((node) => nodeBox(node, at.get(node.id), !known.has(node.id), drained.has(node.id))), users),
    drained.size ? element("p", { class: "legend", id: "drained" }, `Drained for this change (broken blue frame): ${nodes.filter((node) => drained.has(node.id)).map((node) => node.name).join(", ")}. Each request has left before it, or enters after it.`) : null);
}

// The chains in a line each, as texts have them: base <- mid <- top.
function chainTexts(graph) {
  const byNumber = new Map(graph.nodes.map((node) => [node.id, node]));
  const below = (node) => node.to.find(([role]) => (node.filter ? role !== "target" : role === "backing"));
  const stood = new Set(graph.nodes.flatMap((node) => node.to.map(([, id]) => id)));
  const tops = graph.nodes.filter((node) => !stood.has(node.id) && node.driver !== "file");
  return tops.map((top) => {
    const names = [];
    for (let node = top; node && names.length <= graph.nodes.length; node = below(node) && byNumber.get(below(node)[1])) names.unshift(node.name);
    return names.join(" <- ");
  });
}
