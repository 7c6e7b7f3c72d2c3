"use strict";
// What all parts of the page use: elements, and the run as it was embedded.

const run = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name === "click") made.addEventListener("click", value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const drawn = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
const shortFile = (file) => file.replace(/^\//, "").replace(/\.(qcow2|raw)$/, "");

// A value always has the same colour: zeroes have none.
function hueOf(value) {
  let sum = 7;
  for (const letter of value) sum = (sum * 31 + letter.charCodeAt(0)) % 100003;
  return (sum * 137) % 360;
}
const colourOf = (value) => (value === "0" ? "var(--page)" : `hsl(${hueOf(value)} 60% var(--value-light))`);
