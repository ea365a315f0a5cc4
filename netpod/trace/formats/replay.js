// Replays a trace (docs/trace.md, version 1) that stands in this page as JSON. Asks nobody for anything.
"use strict";
const trace = JSON.parse(document.getElementById("trace").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(tag, kind, text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function draw(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  $("stage").append(made);
  return made;
}

const ms = (ns) => `${(ns / 1e6).toFixed(2)} ms`;
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const unique = (values) => [...new Set(values)];

// Where places stand: a column each for outside, edge and underlay; the nodes below one another, with their pods.
const anchors = {};
const boxes = {};

function layout() {
  const nodes = unique(trace.places.map((p) => p.node).filter(Boolean)).sort();
  const podsOf = (node) => trace.places.filter((p) => p.node === node && p.role === "pod");
  const heights = nodes.map((node) => Math.max(2, podsOf(node).length) * 64 + 40);
  const height = Math.max(190, heights.reduce((sum, h) => sum + h + 18, 24));
  const middle = height / 2;
  const wanted = [];
  let left = 14;

  function place(found, x, y, width, tall, anchor) {
    wanted.push([found.netns, x, y, width, tall]);
    anchors[found.netns] = anchor;
  }

  const column = [];
  for (const role of ["outside", "edge"]) {
    const found = trace.places.find((p) => p.role === role);
    if (!found) continue;
    place(found, left, middle - 52, 122, 74, [left + 61, middle + 4]);
    column.push(found.netns);
    left += 166;
  }
  const underlay = trace.places.find((p) => p.role === "underlay");
  if (underlay) {
    place(underlay, left, 12, 74, height - 24, [left + 37, middle + 4]);
    column.push(underlay.netns);
    left += 118;
  }
  const wires = column.slice(1).map((to, i) => [column[i], to]);
  const frames = [];
  let top = 12;
  nodes.forEach((name, i) => {
    const node = trace.places.find((p) => p.role === "node" && p.node === name);
    frames.push([left, top, heights[i], name]);
    if (node) {
      place(node, left + 14, top + 36, 120, heights[i] - 50, [left + 74, top + heights[i] / 2 + 16]);
      if (underlay) wires.push([node.netns, underlay.netns]);
    }
    podsOf(name).forEach((pod, j) => {
      place(pod, left + 178, top + 26 + j * 64, 268, 52, [left + 178 + 250, top + 52 + j * 64]);
      if (node) wires.push([pod.netns, node.netns]);
    });
    top += heights[i] + 18;
  });
  trace.places.filter((p) => p.role === "unknown").forEach((found, i) => {
    place(found, left, top + i * 60, 220, 46, [left + 200, top + 23 + i * 60]);
  });

  for (const [x, y, tall, name] of frames) {
    draw("rect", { x, y, width: 462, height: tall, rx: 11, class: "place node" });
    draw("text", { x: x + 14, y: y + 22 }, name);
  }
  for (const [a, b] of wires) {
    const [[x1, y1], [x2, y2]] = [anchors[a], anchors[b]];
    draw("path", { d: `M${x1} ${y1}L${x2} ${y2}`, class: "wire" });
  }
  for (const [netns, x, y, width, tall] of wanted) {
    boxes[netns] = draw("rect", { x, y, width, height: tall, rx: 9, class: "place" });
    const found = trace.places.find((p) => p.netns === netns);
    const [namespace, pod] = found.pod.split("/");
    const words = {
      outside: ["client outside", ""], edge: ["edge", "load balancer"], underlay: ["underlay", "a switch"],
      node: ["node", "rules and routes"], pod: [short(pod || "", 31), namespace], unknown: [short(netns, 28), ""],
    }[found.role];
    draw("text", { x: x + 10, y: y + 20 }, words[0]);
    draw("text", { x: x + 10, y: y + 36, class: "small" }, words[1]);
  }
  $("stage").setAttribute("viewBox", `0 0 ${left + 478} ${Math.max(height, top)}`);
}

layout();
const trail = draw("path", { class: "trail", d: "" });
const dot = draw("circle", { r: 8, class: "dot", cx: 0, cy: 0 });
const tag = draw("text", { class: "tag", x: 12, y: 19 });

// An event is one packet in one namespace, along the branch of its way that got furthest.
function furthest(packet) {
  const depths = [];
  packet.sightings.forEach((s, i) => { depths[i] = s.parent === null ? 0 : depths[s.parent] + 1; });
  let at = depths.reduce((best, depth, i) => (depth >= depths[best] ? i : best), 0);
  const way = [];
  while (at !== null && at !== undefined) {
    way.unshift(packet.sightings[at]);
    at = packet.sightings[at].parent;
  }
  return way;
}

const sameFlow = (a, b) => a.source === b.source && a.destination === b.destination;

function eventsOf(leg, packet) {
  const stays = [];
  for (const sighting of furthest(packet)) {
    const last = stays[stays.length - 1];
    if (last && last.netns === sighting.netns) last.seen.push(sighting);
    else stays.push({ netns: sighting.netns, seen: [sighting] });
  }
  const opening = packet.flags === "SYN" || packet.protocol !== 6;
  return stays.map((stay, number) => ({
    ...stay, leg, packet, number, opening,
    time: stay.seen[0].time_ns,
    forward: leg.flows.some((flow) => sameFlow(flow, packet.sightings[0].flow)),
    telling: opening || packet.payload_bytes > 0 || packet.flags.includes("RST"),
    last: number === stays.length - 1,
  }));
}

const everything = trace.legs.flatMap((leg) => leg.packets.map((packet) => eventsOf(leg, packet)))
  .sort((a, b) => a[0].time - b[0].time).flat();
let events = [];
let now = 0;
let timer = 0;

function hopOf(event) {
  for (const step of trace.steps) {
    for (const hop of step.hops) {
      if (hop.netns === event.netns && sameFlow(hop.before, event.seen[0].flow)) return { step, hop };
    }
  }
  return null;
}

function flowLine(flow, before) {
  const line = element("div");
  ["source", "destination"].forEach((side, i) => {
    if (i) line.append(" → ");
    line.append(before && before[side] !== flow[side] ? element("mark", "", flow[side]) : flow[side]);
  });
  return line;
}

function tell(event, found) {
  const panel = $("panel");
  const place = trace.places.find((p) => p.netns === event.netns);
  const links = (way) => unique(event.seen.filter((s) => s.direction === way).map((s) => s.interface)).join(", ");
  const [into, out] = [links("in"), links("out")];
  panel.replaceChildren(element("h2", "", place ? place.name : event.netns));
  const whither = event.forward ? "towards the server" : "back to the client";
  panel.append(element("div", "dim", `packet ${event.packet.id}: ${event.packet.label}, ${whither}, ${event.leg.name} connection`));
  const ways = [into && `in by ${into}`, out && `out by ${out}`, `+${ms(event.time)}`].filter(Boolean);
  panel.append(element("div", "dim", ways.join(", ")));

  const [before, after] = [event.seen[0].flow, event.seen[event.seen.length - 1].flow];
  const flow = element("div", "flow");
  flow.append(flowLine(before));
  if (!sameFlow(before, after)) flow.append(flowLine(after, before));
  panel.append(element("h3", "", "addresses"), flow);
  if (!found) return;

  const { hop } = found;
  if (hop.tunnel) panel.append(element("div", "dim", `carried by ${hop.tunnel}`));
  if (hop.nat) {
    const proven = hop.nat.proven ? ", proven by its conntrack entry" : "";
    const words = event.opening ? hop.nat.kind + proven
      : event.forward ? "NAT by conntrack entry, no rule is asked again" : "NAT undone by conntrack entry";
    panel.append(element("div", "dim", words));
  }
  const rules = hop.rules.filter((r) => r.table !== "filter" || r.verdict === "drop");
  if (event.opening && rules.length) {
    const list = element("ol", "rules");
    for (const rule of rules) {
      const item = element("li", rule.verdict === "drop" ? "stop" : "", `${rule.table} ${rule.chain}`);
      if (rule.meaning) item.append(`: ${rule.meaning}`);
      item.append(element("code", "", rule.text));
      list.append(item);
    }
    panel.append(element("h3", "", "rules that had a say"), list);
  }
  if (hop.conntrack) {
    const entry = element("div", "flow");
    for (const side of ["original", "reply"]) {
      const { source, destination } = hop.conntrack[side];
      entry.append(element("div", "", `${side.padEnd(8)} ${source} → ${destination}`));
    }
    panel.append(element("h3", "", "conntrack entry"), entry);
  }
}

function show(wanted) {
  now = Math.max(0, Math.min(events.length - 1, wanted));
  const event = events[now];
  if (!event) return;
  const found = hopOf(event);
  $("at").value = now;
  const lost = event.last && ["DROPPED", "REFUSED"].includes(trace.verdict) && found && found.step.verdict === trace.verdict;
  for (const [netns, box] of Object.entries(boxes)) {
    box.classList.toggle("here", netns === event.netns);
    box.classList.toggle("ended", netns === event.netns && Boolean(lost));
  }
  const [x, y] = anchors[event.netns] || [0, 0];
  dot.style.transform = `translate(${x}px, ${y}px)`;
  tag.style.transform = dot.style.transform;
  dot.classList.toggle("back", !event.forward);
  tag.textContent = event.packet.label;
  tag.setAttribute("text-anchor", x > 700 ? "end" : "start");
  tag.setAttribute("x", x > 700 ? -12 : 12);
  const points = events.slice(0, now + 1).filter((e) => e.packet === event.packet).map((e) => anchors[e.netns]);
  trail.setAttribute("d", points.length > 1 ? `M${points.map((p) => p.join(" ")).join("L")}` : "");
  tell(event, found);
  for (const card of document.querySelectorAll(".step")) {
    card.classList.toggle("now", Boolean(found) && Number(card.dataset.number) === found.step.number);
  }
}

function choose() {
  events = $("all").checked ? everything : everything.filter((event) => event.telling);
  $("at").max = Math.max(0, events.length - 1);
}

function stop() {
  clearInterval(timer);
  timer = 0;
  $("play").textContent = "▶ replay";
}

function play() {
  if (timer) {
    stop();
    return;
  }
  if (now >= events.length - 1) show(0);
  $("play").textContent = "❚❚ pause";
  timer = setInterval(() => {
    if (now >= events.length - 1) stop();
    else show(now + 1);
  }, 650);
}

for (const step of trace.steps) {
  const card = element("div", `card step ${step.verdict}`);
  card.dataset.number = step.number;
  if (step.time_ns !== null) card.append(element("time", "", `+${ms(step.time_ns)}`));
  const mark = step.verdict === "DELIVERED" ? "" : ` · ${step.verdict}`;
  card.append(element("b", "", `${step.number} ${step.name}${mark}`), step.sentence);
  card.onclick = () => {
    stop();
    const at = events.findIndex((event) => (hopOf(event) || {}).step === step);
    if (at >= 0) show(at);
  };
  $("steps").append(card);
}

const answer = trace.answer;
$("answer").textContent = [
  answer.status ? `${answer.status} ${answer.reason}` : answer.reason, answer.error, answer.body, "",
  ...trace.sources.map((s) => `${s.source}: heard ${s.events}, lost ${s.lost}${s.note ? ` (${s.note})` : ""}`),
].join("\n").trim();

$("play").onclick = play;
$("next").onclick = () => { stop(); show(now + 1); };
$("back").onclick = () => { stop(); show(now - 1); };
$("at").oninput = (change) => { stop(); show(Number(change.target.value)); };
$("all").onchange = () => { choose(); show(0); };
document.onkeydown = (key) => {
  if (key.key === "ArrowRight") $("next").click();
  if (key.key === "ArrowLeft") $("back").click();
};
choose();
show(Number(new URLSearchParams(location.hash.slice(1)).get("event") || 0));
