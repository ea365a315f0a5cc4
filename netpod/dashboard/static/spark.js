// Small curves of the last quarter of an hour.

import { h, s } from "./dom.js";

const WIDTH = 150, HEIGHT = 34;
const UNITS = {
  cpu: ["CPU", (value) => `${value.toFixed(value < 10 ? 1 : 0)}m`],
  memory: ["memory", (value) => `${(value / 1024).toFixed(1)} MiB`],
  rx: ["received", (value) => `${bytes(value)}/s`],
  tx: ["sent", (value) => `${bytes(value)}/s`],
};

function bytes(value) {
  return value < 1000 ? `${value.toFixed(0)} B` : value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`;
}

export function sparks(usage) {
  return h("div", { class: "sparks" }, Object.entries(UNITS).map(([name, [label, shown]]) => {
    const values = usage[name] || [];
    const known = values.filter((value) => value !== null);
    const last = known.at(-1);
    return h("figure", {}, curve(values, Math.max(1e-9, ...known), `${label}, last quarter of an hour`), h("figcaption", {}, `${label} `, h("b", {}, last === undefined ? "none yet" : shown(last))));
  }));
}

function curve(values, most, label) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map((value, i) => (value === null ? null : [i * step, HEIGHT - 2 - (value / most) * (HEIGHT - 5)])).filter(Boolean);
  const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const area = points.length ? `M${points[0][0]} ${HEIGHT}L${line.replaceAll(" ", "L")}L${points.at(-1)[0]} ${HEIGHT}Z` : "";
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": label }, s("path", { class: "area", d: area }), s("polyline", { points: line }));
}
