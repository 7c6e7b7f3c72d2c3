// Opens every page in turn, walks through it by keyboard, and writes down what a reader finds there.
const found = [];

function press(page, key) {
  page.document.dispatchEvent(new page.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

const textOf = (page, id) => page.document.getElementById(id).textContent;
const all = (page, selector) => [...page.document.querySelectorAll(selector)];

// To the beginning, one on and one back, along the choices, then to where it breaks, row by row.
function walk(page) {
  press(page, "Home");
  const first = textOf(page, "now");
  press(page, "ArrowRight");
  const second = textOf(page, "now");
  press(page, "ArrowLeft");
  const back = textOf(page, "now");
  press(page, "n");
  const choice = textOf(page, "now");
  press(page, "End");
  press(page, "b");
  const breaking = textOf(page, "now");
  press(page, "Home");
  let steps = 0;
  while (textOf(page, "now") !== breaking && steps < 20000) { press(page, "ArrowRight"); steps += 1; }
  return { first, second, back, choice, breaking, steps, arrived: textOf(page, "now") === breaking };
}

function read(page, name, milliseconds) {
  const walked = all(page, ".row").length ? walk(page) : null;
  return {
    name, milliseconds, walked, errors: page.errors,
    rows: all(page, ".row").length, nodes: all(page, "[data-node]").map((node) => node.getAttribute("data-node")),
    verdict: textOf(page, "verdict"), law: textOf(page, "law"), what: textOf(page, "what"),
    chain: page.document.getElementById("chain-text")?.textContent ?? null,
    differs: all(page, "[data-differs]").map((sector) => sector.getAttribute("aria-label")),
    fates: all(page, "#differs li").map((item) => item.textContent),
    sectors: all(page, "[data-sector]").length, now: textOf(page, "now"),
    arrows: all(page, "#arrows path").length, causes: all(page, ".row.cause").length,
    belief: textOf(page, "belief"),
    unnamed: all(page, "button, input, [role=img]").filter((part) => !(part.getAttribute("aria-label") || part.textContent.trim() || part.closest("label"))).length,
    wide: page.document.documentElement.scrollWidth - page.document.documentElement.clientWidth,
    beside: all(page, "#beside tr").length,
  };
}

function open(at) {
  const pages = all(window, "script[type='text/page']");
  if (at >= pages.length) {
    document.getElementById("found").textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
    return;
  }
  const frame = document.createElement("iframe");
  frame.width = 1280;
  frame.height = 900;
  const began = performance.now();
  frame.onload = () => {
    const name = pages[at].dataset.name;
    try {
      found.push(read(frame.contentWindow, name, performance.now() - began));
    } catch (error) {
      found.push({ name, errors: [String(error)] });
    }
    frame.remove();
    open(at + 1);
  };
  frame.srcdoc = decodeURIComponent(escape(atob(pages[at].textContent.trim())));
  document.body.append(frame);
}

open(0);
