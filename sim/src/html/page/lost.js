// What became of a value that is missing where the law breaks: which requests of the disks wrote it, and which one wrote
// something else in its place. A request is read as its row has it: `job j0: write /n2.qcow2 0x400+0x400 (0*1 g1.0.7)`.

function writeOf(row) {
  const parts = row.l === 3 && !row.f && row.t.match(/: write (\S+) 0x([0-9a-f]+)\+0x([0-9a-f]+)(?: \(([^)]*)\))?/);
  if (!parts || parts[4]?.startsWith("header: ")) return null;
  const sectors = parseInt(parts[3], 16) / 512;
  // Nothing but zeroes has no name: it may be of a table as well.
  const words = (parts[4] ?? `?*${sectors}`).split(" ").map((word) => word.match(/^(.+?)(?:\*(\d+))?$/));
  const values = words.flatMap((word) => (word ? Array(Math.min(Number(word[2] || 1), 65536)).fill(word[1]) : []));
  // What is no data has a name of several words, or of another length than its sectors.
  return values.length === sectors ? { file: parts[1], from: parseInt(parts[2], 16) / 512, values } : null;
}

function writesBefore(end) {
  return run.rows.slice(0, end).map((row, at) => ({ at, ...writeOf(row) })).filter((write) => write.file !== undefined);
}

const valueAt = (write, place) => write.values[place - write.from];

// What a guest wrote has a name of its own: its last write says the place. Before it something else was there, or behind it.
function fateOf(differs, file) {
  const all = writesBefore(run.at);
  // Nobody recorded the disks: that nothing was written does not follow.
  if (all.length === 0) return {};
  const writes = all.filter((write) => write.file === file);
  const lastOf = (value) => value.startsWith("g") ? writes.findLast((write) => write.values.includes(value)) : undefined;
  const [wanted, found] = [differs.expected[0], differs.found.split(" ")[0]];
  const over = lastOf(found);
  if (over) {
    const place = over.from + over.values.indexOf(found);
    const before = writes.findLast((write) => write.at < over.at && valueAt(write, place) !== undefined);
    if (!before) return { over: over.at };
    const is = differs.expected.includes(valueAt(before, place)) ? "written" : "before";
    return { over: over.at, [is]: before.at };
  }
  const written = differs.expected.length === 1 ? lastOf(wanted) : undefined;
  if (written) {
    const place = written.from + written.values.indexOf(wanted);
    const over = writes.find((write) => write.at > written.at && valueAt(write, place) !== undefined);
    return over ? { written: written.at, over: over.at } : {};
  }
  if (differs.expected.length > 1 || writes.some((write) => write.values.includes(wanted))) return {};
  const elsewhere = all.findLast((write) => write.values.includes(wanted))?.at;
  // Of what images had at first, an overlay shows what lies below: only a copy has to have it.
  const isOfImage = /^n\d+$/.test(wanted) && wanted !== shortFile(file) && !run.images[differs.image].backing;
  return wanted.startsWith("g") && elsewhere !== undefined || isOfImage ? { isAbsent: true, elsewhere } : {};
}

// In words, for the list of what differs; nothing where nobody recorded the disks.
function fateParts(differs, file, link) {
  const { written, before, over, isAbsent, elsewhere } = fateOf(differs, file);
  if (written !== undefined) return [" — it was written by ", link(written), " and overwritten by ", link(over)];
  if (before !== undefined) return [" — what was found was written by ", link(over), " in the place of ", link(before)];
  if (over !== undefined) return [" — what was found was written by ", link(over)];
  if (!isAbsent) return [];
  const parts = elsewhere === undefined ? [] : ["; the last one elsewhere is ", link(elsewhere)];
  return [` — no request wrote it to ${shortFile(file)}`, ...parts];
}
