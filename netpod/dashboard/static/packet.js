// Watch a packet: ask for a trace or choose one that is kept, and follow it over the picture, step by step.

import { button, h, say } from "./dom.js";
import { Player, SPEEDS } from "./player.js";
import { stopsOf } from "./stops.js";

const PROTOCOLS = ["http", "tcp", "udp", "icmp", "dns"];
const REFRESH_MS = 3000;
const EXPORTS = { html: "HTML", mermaid: "Mermaid", pcapng: "pcapng", json: "JSON" };

export class PacketView {
  constructor(app, topology, panel, name) {
    Object.assign(this, { app, topology, panel });
    this.player = new Player(topology, () => this.#told());
    this.form = this.#form();
    this.problem = h("p", { class: "problem", role: "alert" });
    this.list = h("ul", { class: "traces" });
    this.stage = h("section", { class: "stage", "aria-label": "The packet's way", hidden: true });
    panel.replaceChildren(this.form, this.problem, this.stage, h("details", { class: "kept", open: true }, h("summary", {}, "Traces, also those of the command line"), this.list));
    this.timer = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#refresh();
    if (name) this.open(name);
  }

  stop() {
    clearInterval(this.timer);
    this.player.unload();
  }

  #form() {
    const input = (id, label, value, attributes = {}) => h("label", { class: "field" }, label, h("input", { id, value, spellcheck: "false", autocomplete: "off", ...attributes }));
    const protocol = h("select", { id: "protocol", onchange: () => this.#asks() }, PROTOCOLS.map((p) => h("option", {}, p)));
    this.query = input("query", "Name to ask for", "example-service.default.svc.cluster.local");
    this.query.hidden = true;
    this.run = h("button", { type: "submit", class: "main" }, "Send and follow");
    const form = h("form", { class: "ask", onsubmit: (event) => this.#send(event) },
      h("h2", {}, "Send one packet"),
      input("from", "From", "outside", { list: "found" }),
      input("to", "To", "http://example.com/", { list: "found" }),
      h("label", { class: "field" }, "Protocol", protocol),
      this.query, this.run);
    form.querySelectorAll("input").forEach((field) => field.addEventListener("focus", () => this.app.suggest("trace")));
    return form;
  }

  #asks() {
    const protocol = this.form.querySelector("#protocol").value;
    this.query.hidden = protocol !== "dns";
    const to = this.form.querySelector("#to");
    if (protocol === "dns" && to.value.startsWith("http")) to.value = "10.96.0.10:53";
  }

  async #send(event) {
    event.preventDefault();
    const value = (id) => this.form.querySelector(`#${id}`).value.trim();
    const wanted = { from: value("from"), to: value("to"), protocol: value("protocol"), query: value("query") };
    this.problem.textContent = "";
    this.run.disabled = true;
    this.run.textContent = "On its way…";
    try {
      const answer = await fetch("/traces", { method: "POST", body: JSON.stringify(wanted) });
      if (!answer.ok) throw new Error(await answer.text());
      const { name, trace } = await answer.json();
      this.#load(name, trace);
      history.replaceState(null, "", `#/packet/${name}`);
      this.player.play();
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.run.disabled = false;
    this.run.textContent = "Send and follow";
    this.#refresh();
  }

  async open(name) {
    const answer = await fetch(`/traces/${encodeURIComponent(name)}`);
    if (!answer.ok) {
      this.problem.textContent = await answer.text();
      return;
    }
    const trace = await answer.json();
    await this.app.loaded;
    this.#load(name, trace);
    this.player.play();
  }

  async #refresh() {
    const answer = await fetch("/traces").catch(() => null);
    if (!answer?.ok) return;
    const traces = await answer.json();
    const seen = JSON.stringify([this.name, traces.map((t) => t.name)]);
    if (seen === this.seen) return;
    this.seen = seen;
    this.list.replaceChildren(...traces.map(({ name, at_ms, request, verdict, duration_ns }) =>
      h("li", { class: name === this.name ? "chosen" : "" },
        h("a", { href: `#/packet/${name}` }, h("span", { class: `verdict ${verdict.toLowerCase()}` }, verdict), ` ${request.url} `, h("small", {}, `${new Date(at_ms).toLocaleTimeString()}, ${(duration_ns / 1e6).toFixed(1)} ms`)))));
    if (!traces.length) this.list.append(h("li", {}, "None yet."));
  }

  #load(name, trace) {
    this.name = name;
    this.trace = trace;
    const stops = stopsOf(trace, this.app.cluster, this.app.model());
    this.#setStage(stops);
    this.player.load(stops, trace.verdict !== "DELIVERED");
    say(`${trace.verdict}: ${trace.sentence}`);
  }

  #setStage(stops) {
    const { trace, player } = this;
    this.toggle = button("▶ Play", () => (player.playing ? player.pause() : player.play()), { class: "main", id: "play" });
    this.place = h("span", { class: "count" });
    this.range = h("input", { type: "range", min: 0, max: Math.max(0, stops.length - 1), value: 0, "aria-label": "Stop", oninput: () => player.go(Number(this.range.value)) });
    const speed = h("select", { "aria-label": "Speed", onchange: () => { player.speed = speed.value; } }, Object.keys(SPEEDS).map((name) => h("option", { selected: name === player.speed }, name)));
    this.steps = h("ol", { class: "steps" }, trace.steps.map((step) =>
      h("li", { "data-step": step.number, class: step.verdict.toLowerCase().replace(" ", "-") },
        button(`${step.number} ${step.name}`, () => player.go(Math.max(0, stops.findIndex((stop) => stop.step === step)))))));
    this.now = h("div", { class: "now" });
    const links = Object.entries(EXPORTS).map(([form, label]) => h("a", { href: `/traces/${this.name}?form=${form}&save`, download: "" }, label));
    this.stage.hidden = false;
    this.stage.replaceChildren(
      h("h2", {}, h("span", { class: `verdict ${trace.verdict.toLowerCase()}` }, trace.verdict), ` in ${(trace.duration_ns / 1e6).toFixed(2)} ms`),
      h("p", { class: "sentence" }, trace.sentence),
      h("div", { class: "controls" }, button("◀", () => player.go(player.at - 1), { "aria-label": "One stop back", title: "One stop back" }), this.toggle, button("▶", () => player.go(player.at + 1), { "aria-label": "One stop on", title: "One stop on" }), speed, this.place),
      this.range, this.steps, this.now,
      h("p", { class: "exports" }, "Save as ", links.flatMap((link, i) => (i ? [", ", link] : [link]))));
  }

  #told() {
    const { player } = this;
    const stop = player.stops[player.at];
    if (!stop || !this.now) return;
    const { step } = stop;
    this.toggle.textContent = player.playing ? "❚❚ Pause" : "▶ Play";
    this.place.textContent = `${player.at + 1} of ${player.stops.length}`;
    this.range.value = player.at;
    for (const item of this.steps.children) {
      const number = Number(item.dataset.step);
      item.classList.toggle("past", number < step.number);
      item.classList.toggle("current", number === step.number);
    }
    const shown = `${this.name}/${player.at}`;
    if (this.shown === shown) return;
    this.shown = shown;
    this.now.replaceChildren(...describe(stop));
    if (!player.playing) say(`Step ${step.number}, ${step.name}: ${step.sentence}`);
  }
}

function describe({ step, hop, ended }) {
  const parts = [h("h3", {}, `${step.number} ${step.name}`), h("p", { class: ended ? "sentence bad" : "sentence" }, step.sentence)];
  const facts = Object.entries(step.facts).filter(([, value]) => value);
  if (facts.length && !hop?.rules.length) parts.push(h("dl", {}, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  if (!hop) return parts;
  const ways = [hop.in.length ? `in ${hop.in.join(", ")}` : "", hop.out.length ? `out ${hop.out.join(", ")}` : ""].filter(Boolean).join("; ");
  parts.push(h("p", { class: "where" }, h("code", {}, hop.netns), ` ${ways}`));
  parts.push(...addresses(hop));
  const told = hop.rules.filter((rule) => rule.meaning);
  const list = (rules) => h("ol", { class: "rules" }, rules.map((rule) => h("li", {}, rule.meaning ? h("p", {}, rule.meaning) : null, h("code", {}, `${rule.table} ${rule.text || rule.chain}`), h("small", {}, rule.verdict))));
  if (told.length) parts.push(h("h4", {}, "Rules that decided"), list(told));
  if (hop.rules.length > told.length) parts.push(h("details", {}, h("summary", {}, `all ${hop.rules.length} rules it met`), list(hop.rules)));
  if (hop.conntrack) parts.push(h("p", { class: "where" }, "conntrack: ", h("code", {}, `${hop.conntrack.original.source} → ${hop.conntrack.original.destination}, reply ${hop.conntrack.reply.source} → ${hop.conntrack.reply.destination}`)));
  return parts;
}

function addresses({ before, after, nat }) {
  const line = (label, flow, other) => h("p", { class: "flow" }, h("span", {}, label),
    h("code", {}, flow.source === other.source ? flow.source : h("mark", {}, flow.source), " → ", flow.destination === other.destination ? flow.destination : h("mark", {}, flow.destination)));
  return nat ? [line("before", before, after), line(`after ${nat.kind}`, after, before)] : [line("carries", before, after)];
}
