// A trace as stops in the picture: where the packet was, step by step and hop by hop, and how it got there. Pure.

import { way } from "./layout.js";

// The place a network namespace stands for: netpod-CLUSTER-NODE-NAMESPACE.POD, -NODE, -outside, -edge.
export function placeOf(netns, cluster, model) {
  const name = netns.slice(`netpod-${cluster}-`.length);
  if (["outside", "edge", "underlay"].includes(name)) return name;
  if (model.nodes.some((node) => node.metadata.name === name)) return `node//${name}`;
  const pod = model.pods.find(({ metadata, spec }) => name === `${spec.nodeName}-${metadata.namespace}.${metadata.name}`);
  if (pod) return `pod/${pod.metadata.namespace}/${pod.metadata.name}`;
  const node = model.nodes.find((n) => name.startsWith(`${n.metadata.name}-`));
  return node ? `node//${node.metadata.name}` : "";
}

export function stopsOf(trace, cluster, model) {
  const stops = [];
  let last = "outside";
  for (const step of trace.steps) {
    if (step.verdict === "NOT REACHED") continue;
    const hops = step.hops.filter((hop) => !hop.netns.endsWith("-underlay"));
    for (const hop of hops.length ? hops : [null]) {
      const place = hop ? placeOf(hop.netns, cluster, model) || last : last;
      stops.push({ step, hop, place, ended: false });
      last = place;
    }
    if (step.verdict === "DROPPED" || step.verdict === "REFUSED") stops.at(-1).ended = true;
  }
  return stops;
}

// The points between a stop and the one before, in the present picture.
export function path(plan, stops, index) {
  if (index <= 0) return [];
  const [from, to] = [stops[index - 1], stops[index]];
  return from.ended && !to.hop ? [] : way(plan, from.place, to.place);
}

export function point(plan, place) {
  const box = plan.boxes.get(place);
  if (!box) return null;
  return box.node ? [box.fx, box.fy] : [box.cx, box.cy];
}

export function length(points) {
  let sum = 0;
  for (let i = 1; i < points.length; i++) sum += Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]);
  return sum;
}

export function along(points, share) {
  let rest = length(points) * share;
  for (let i = 1; i < points.length; i++) {
    const [x1, y1] = points[i - 1], [x2, y2] = points[i];
    const size = Math.hypot(x2 - x1, y2 - y1);
    if (rest <= size && size > 0) return [x1 + ((x2 - x1) * rest) / size, y1 + ((y2 - y1) * rest) / size];
    rest -= size;
  }
  return points.at(-1);
}
