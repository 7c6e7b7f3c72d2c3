// The images as a map: a box for each sector, framed by clusters, with the values that a reader may get.

// What is believed of each sector behind a row: rows hold what they change, so going on is cheap and going back begins anew.
const disk = { at: -1, images: [], drawn: [] };

function cellsAt(row) {
  if (row < disk.at || disk.at < 0) {
    disk.images = run.images.map((image) => image.cells.slice());
    disk.at = -1;
  }
  for (let at = disk.at + 1; at <= row; at += 1) {
    for (const [image, sector, cell] of run.rows[at].d || []) disk.images[image][sector] = cell;
  }
  disk.at = row;
  return disk.images;
}

function sectorBox(image, number, cell, marks) {
  const value = cell.r.join("|");
  const differs = marks.differs.get(number);
  const shown = differs ? differs.found : value;
  const classes = ["sector", ["below", "own", "perhaps"][cell.o], value === "0" ? "zero" : "", cell.s ? "volatile" : "",
    marks.changed.has(number) ? "changed" : "", differs ? "differs" : ""];
  const where = ["shown from below", "of this image", "perhaps of this image"][cell.o];
  const label = `sector ${number} of ${image.file}: ${cell.r.join(" or ")}, ${where}` +
    (cell.s ? `; not durable: a crash may leave ${cell.s.join(" or ")}` : "") +
    (differs ? `; must be ${differs.expected.join(" or ")}, found ${differs.found}` : "");
  const colours = cell.r.map(colourOf);
  const background = differs ? colourOf(differs.found)
    : colours.length === 1 ? colours[0] : `linear-gradient(90deg, ${colours.join(", ")})`;
  return element("div", { class: classes.join(" "), style: `background:${background}`, title: label, role: "img", "aria-label": label,
    "data-sector": number, "data-differs": differs ? "true" : undefined }, shown);
}

function imageMap(image, cells, marks) {
  const clusters = [];
  for (let start = 0; start < cells.length; start += image.cluster) {
    const sectors = [];
    for (let number = start; number < Math.min(start + image.cluster, cells.length); number += 1) {
      sectors.push(sectorBox(image, number, run.cells[cells[number]], marks));
    }
    const own = run.cells[cells[start]].o === 1;
    clusters.push(element("div", { class: `cluster${own ? " own" : ""}` }, sectors));
  }
  return element("div", { class: "image", "data-image": image.file },
    element("h3", {}, shortFile(image.file), element("span", { class: "soft" },
      ` ${image.format}, ${plural(cells.length, "sector")}, ${image.cluster} a cluster${image.backing ? `, at first on ${shortFile(image.backing)}` : ""}`)),
    element("div", { class: "clusters" }, clusters), marks.seen && element("p", { class: "seen" }, marks.seen));
}

// Images that are not what they must be come first, each with what it stood on at first below it.
function shownOrder() {
  const order = new Set();
  const add = (index) => {
    if (index < 0 || order.has(index)) return;
    order.add(index);
    add(run.images.findIndex((image) => image.file === run.images[index].backing));
  };
  run.differs.forEach((differs) => add(differs.image));
  run.images.forEach((_, index) => order.add(index));
  return [...order];
}

// Draws an image anew if it shows something else than before: most rows change one or none, and boxes are many.
function redrawMap(index, cells, marks) {
  const key = [cells, [...marks.changed], [...marks.differs.keys()], marks.seen ?? ""].join(";");
  const old = disk.drawn[index];
  if (old?.key === key) return;
  disk.drawn[index] = { key, map: imageMap(run.images[index], cells, marks) };
  if (old) old.map.replaceWith(disk.drawn[index].map);
}

function drawDisk(at) {
  const box = byId("disk");
  if (run.images.length === 0) return box.replaceChildren(element("p", { class: "legend" }, "no image is known here"));
  const images = cellsAt(at);
  const row = run.rows[at] || {};
  run.images.forEach((_, index) => {
    const changed = new Set((row.d || []).filter(([other]) => other === index).map(([, sector]) => sector));
    const wrong = run.at === at ? run.differs.filter((differs) => differs.image === index) : [];
    const differs = new Map(wrong.map((differs) => [differs.sector, differs]));
    const seen = row.v && row.v.i === index ? `seen from sector ${row.v.from} on: ${row.v.v}` : undefined;
    redrawMap(index, images[index], { changed, differs, seen });
  });
  if (box.hasChildNodes()) return;
  box.append(...shownOrder().map((index) => disk.drawn[index].map), element("p", { class: "legend" },
    "Value by name: n0 was in n0 at first, g1.0.2 was written by that request, 0 is zeroes, 0*7 seven sectors of them; a|b: either. Pale: shown from the image below; dotted above: perhaps so, perhaps its own. " +
    "Dot: not durable yet. Blue line: changed just now. Red frame: not what it must be."));
}
