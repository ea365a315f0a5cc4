// Where everything stands in the picture: pure, from the model and a width in pixels.
//
//   outside ── edge     Ingresses and Services
//   ═══════════╧═════════════ underlay
//    ┌ node ┐  ┌ node ┐       eth0 at the top, netfilter, cni0, pods
//
// Nodes stand in rows; each row has its own bar of the underlay, joined at the left.

import { keyOf } from "./model.js";

export const MARGIN = 26;
const GAP = 18;
const HEAD = 76;
const DENSITIES = [
  { most: 18, total: 80, width: 124, height: 38, card: 288, name: "large" },
  { most: 40, total: 280, width: 66, height: 24, card: 300, name: "medium" },
  { most: Infinity, total: Infinity, width: 15, height: 15, card: 236, name: "small" },
];

export function layout(model, width) {
  const boxes = new Map();
  const narrow = width < 760;
  const box = (key, x, y, w, height, more = {}) => boxes.set(key, { key, x, y, w, h: height, cx: x + w / 2, cy: y + height / 2, ...more });
  box("outside", MARGIN, MARGIN, 142, 54);
  box("edge", MARGIN + 142 + (narrow ? 40 : 74), MARGIN, 150, 54);
  const edge = boxes.get("edge");
  const band = chips(model, narrow ? MARGIN : edge.x + edge.w + 36, narrow ? MARGIN + 78 : MARGIN - 8, width - MARGIN);
  for (const chip of band.chips) box(chip.key, chip.x, chip.y, chip.w, chip.h, chip);
  const byNode = new Map(model.nodes.map((node) => [node.metadata.name, []]));
  const adrift = [];
  for (const pod of model.pods) (byNode.get(pod.spec?.nodeName) || adrift).push(pod);
  const most = Math.max(1, ...[...byNode.values()].map((pods) => pods.length));
  const density = DENSITIES.find((d) => most <= d.most && model.pods.length <= d.total);
  const inside = width - 2 * MARGIN;
  const columns = Math.max(1, Math.min(model.nodes.length || 1, Math.floor((inside + GAP) / (density.card + GAP))));
  const card = Math.min(520, (inside - (columns - 1) * GAP) / columns);
  const bars = [];
  let y = Math.max(edge.y + edge.h, band.bottom) + 34;
  for (let i = 0; i < model.nodes.length; i += columns) {
    bars.push({ y, x1: MARGIN / 2, x2: width - MARGIN });
    const top = y + 30;
    let bottom = top;
    model.nodes.slice(i, i + columns).forEach((node, column) => {
      const x = MARGIN + column * (card + GAP);
      const pods = byNode.get(node.metadata.name);
      const across = Math.max(1, Math.floor((card - 20 + 6) / (density.width + 6)));
      const wide = density.name === "large" ? Math.min(170, (card - 20 + 6) / across - 6) : density.width;
      const height = HEAD + Math.max(1, Math.ceil(pods.length / across)) * (density.height + 6) + 8;
      box(keyOf("node", node), x, top, card, height, { node, row: bars.length - 1, bar: y, cni: top + 62, fx: x + card / 2, fy: top + 34 });
      pods.forEach((pod, index) => {
        const px = x + 10 + (index % across) * (wide + 6);
        const py = top + HEAD + Math.floor(index / across) * (density.height + 6);
        box(keyOf("pod", pod), px, py, wide, density.height, { pod, on: keyOf("node", node) });
      });
      bottom = Math.max(bottom, top + height);
    });
    y = bottom + 26;
  }
  return { boxes, bars, density: density.name, width, height: y + 6, hidden: band.hidden, adrift };
}

// Ingresses, then Services, in at most three rows; what does not fit is counted.
function chips(model, left, top, right) {
  const w = 172, height = 36, gap = 8;
  const across = Math.max(1, Math.floor((right - left + gap) / (w + gap)));
  const all = [
    ...model.ingresses.map(({ ingress }) => ({ key: keyOf("ingress", ingress), ingress })),
    ...model.services.map((service) => ({ key: keyOf("service", service), service })),
  ];
  const room = across * 3;
  const shown = all.slice(0, room);
  const placed = shown.map((chip, i) => ({ ...chip, w, h: height, x: left + (i % across) * (w + gap), y: top + Math.floor(i / across) * (height + gap) }));
  return { chips: placed, bottom: top + Math.ceil(shown.length / across) * (height + gap), hidden: all.length - shown.length };
}

// A line from one place to another, along the wires that are there.
export function way(plan, from, to) {
  const a = plan.boxes.get(from), b = plan.boxes.get(to);
  if (!a || !b || a === b) return [];
  return tidy([...out(plan, a, b), ...out(plan, b, a).reverse()]);
}

function out(plan, a, b) {
  if (a.key === "outside") return [[a.cx, a.cy], [a.x + a.w, a.cy]];
  if (a.key === "edge") return b.key === "outside" ? [[a.cx, a.cy], [a.x, a.cy]] : [[a.cx, a.cy], [a.cx, a.y + a.h], ...down(plan, a.cx, b)];
  if (a.pod) {
    const node = plan.boxes.get(a.on);
    const home = [[a.cx, a.cy], [a.cx, node.cni], [node.fx, node.cni], [node.fx, node.fy]];
    return b === node || b.on === a.on ? home : [...home, ...out(plan, node, b).slice(1)];
  }
  if (b.on === a.key) return [[a.fx, a.fy]];
  return [[a.fx, a.fy], [a.fx, a.y], [a.fx, a.bar], ...aside(plan, a, b)];
}

// From the edge to the bar of the node's row.
function down(plan, x, b) {
  const node = b.pod ? plan.boxes.get(b.on) : b;
  const first = plan.bars[0];
  if (!first || !node || node.row === undefined) return [];
  const points = [[x, first.y]];
  if (node.row > 0) points.push([first.x1, first.y], [first.x1, node.bar]);
  return points;
}

// Between nodes of different rows the way leads along the left.
function aside(plan, a, b) {
  const other = b.pod ? plan.boxes.get(b.on) : b;
  if (other.row === undefined || other.row === a.row || a.row === undefined) return [];
  return [[plan.bars[a.row].x1, a.bar]];
}

function tidy(points) {
  return points.filter(([x, y], i) => i === 0 || Math.abs(x - points[i - 1][0]) + Math.abs(y - points[i - 1][1]) > 0.5);
}
