// A Service's rules as a graph, with live counters, and line by line what changes while one looks.

import { h, s, words } from "./dom.js";
import { shortName } from "./model.js";

const REFRESH_MS = 1000;
const KEPT = 200;
const JUMP = /-[jg] (KUBE-[A-Z0-9-]+)|(?:goto|jump) ([^\s,}]+)|@([^\s,}]+)/g;

export class RulesView {
  constructor(app, view, namespace, name) {
    Object.assign(this, { app, namespace, name });
    this.before = new Map();
    this.choice = h("select", { "aria-label": "Service", onchange: () => { location.hash = `#/rules/${this.choice.value}`; } });
    this.nodes = h("select", { "aria-label": "Node", onchange: () => this.#draw() });
    this.hint = h("p", {});
    this.graph = h("div", { class: "graph" });
    this.changes = h("ul", { class: "changes" });
    this.problem = h("p", { class: "problem", role: "alert" });
    view.replaceChildren(h("div", { class: "rulesview" },
      h("div", { class: "bar" }, h("label", { class: "field" }, "Service", this.choice), h("label", { class: "field" }, "Node", this.nodes), this.hint),
      this.problem, this.graph,
      h("section", {}, h("h2", {}, "What changes"), h("p", { class: "hint" }, "Scale the Deployment, or let a pod fail its probe: the lines come and go here."), this.changes)));
    this.#choices();
    this.timer = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#refresh();
  }

  stop() {
    clearInterval(this.timer);
  }

  update() {
    this.#choices();
  }

  #choices() {
    const all = this.app.model().services.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    const own = `${this.namespace}/${this.name}`;
    const seen = all.join();
    if (seen === this.seen) return;
    this.seen = seen;
    this.choice.replaceChildren(...all.map((name) => h("option", { selected: name === own }, name)));
    if (!this.name && all.length) {
      const first = all.find((name) => !/^(default\/kubernetes|kube-system\/)/.test(name)) || all[0];
      [this.namespace, this.name] = first.split("/");
      this.choice.value = first;
      this.#refresh();
    }
  }

  async #refresh() {
    if (!this.name || this.asking) return;
    this.asking = true;
    try {
      const answer = await fetch(`/rules/${this.namespace}/${this.name}`);
      if (!answer.ok) throw new Error(await answer.text());
      this.found = await answer.json();
      this.problem.textContent = "";
      this.#compare();
      this.#draw();
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.asking = false;
  }

  #compare() {
    for (const { node, chains } of this.found) {
      const lines = new Set(chains.flatMap((chain) => chain.rules.map(({ rule }) => `${chain.table} ${chain.name} ${rule}`)));
      const before = this.before.get(node);
      this.before.set(node, lines);
      if (!before) continue;
      const now = new Date().toLocaleTimeString();
      const note = (sign, line) => this.changes.prepend(h("li", { class: sign === "+" ? "added" : "removed" }, h("small", {}, `${now} ${node} `), h("code", {}, `${sign} ${line}`)));
      for (const line of before) if (!lines.has(line)) note("−", line);
      for (const line of lines) if (!before.has(line)) note("+", line);
      while (this.changes.children.length > KEPT) this.changes.lastChild.remove();
    }
  }

  #draw() {
    const names = this.found.map(({ node }) => node).join();
    if (names !== this.names) {
      this.names = names;
      const chosen = this.found.find(({ node, chains }) => node !== "control-plane" && chains.length)?.node;
      this.nodes.replaceChildren(...this.found.map(({ node }) => h("option", { selected: node === chosen }, node)));
    }
    const chains = this.found.find(({ node }) => node === this.nodes.value)?.chains || [];
    const shape = JSON.stringify(chains.map(({ name, rules }) => [name, rules.map(({ rule }) => rule)]));
    const changed = shape !== this.shape;
    this.shape = shape;
    if (changed) this.#build(chains);
    this.#count(chains);
    if (changed && chains.length) this.#connect();
  }

  // Chains in columns by how many jumps they are from the first; lines for the jumps.
  #build(chains) {
    if (!chains.length) {
      this.graph.replaceChildren(h("p", {}, "This node has no rule for it: a Service without a cluster IP has none."));
      return;
    }
    const known = new Map(chains.map((chain) => [chain.name, chain]));
    const targets = this.targets = (chain) => [...new Set(chain.rules.flatMap(({ rule }) => [...rule.matchAll(JUMP)].map((m) => m[1] || m[2] || m[3])))].filter((name) => known.has(name) && name !== chain.name);
    const depth = new Map(chains.map((chain) => [chain.name, 0]));
    for (let round = 0; round < chains.length; round++) for (const chain of chains) for (const target of targets(chain)) if (depth.get(target) <= depth.get(chain.name) && round < 12) depth.set(target, depth.get(chain.name) + 1);
    const columns = [];
    for (const chain of chains) (columns[depth.get(chain.name)] ||= []).push(chain);
    this.cards = new Map();
    const grid = h("div", { class: "columns" }, columns.filter(Boolean).map((column) => h("div", { class: "column" }, column.map((chain) => {
      const card = h("details", { class: "chain", ontoggle: () => this.#connect() }, h("summary", {}, h("b", { title: chain.name }, shortName(chain.name, 30)), h("small", {}, `${chain.table}: ${chain.purpose || "chain"}`), h("span", { class: "count" })),
        h("ol", {}, chain.rules.map(({ rule, meaning }) => h("li", {}, h("span", { class: "count" }), meaning ? h("p", {}, meaning) : null, h("code", {}, rule)))));
      this.cards.set(chain.name, { card, chain });
      return card;
    }))));
    this.lines = s("svg", { class: "jumps", "aria-hidden": "true" });
    this.graph.replaceChildren(this.lines, grid);
  }

  #connect() {
    const frame = this.graph.getBoundingClientRect();
    this.lines.setAttribute("width", this.graph.scrollWidth);
    this.lines.setAttribute("height", this.graph.scrollHeight);
    const curves = [];
    for (const { card, chain } of this.cards.values()) {
      const a = card.getBoundingClientRect();
      for (const target of this.targets(chain)) {
        const b = this.cards.get(target).card.getBoundingClientRect();
        const [x1, y1, x2, y2] = [a.right - frame.left, a.top - frame.top + 20, b.left - frame.left, b.top - frame.top + 20].map(Math.round);
        const bend = Math.max(24, (x2 - x1) / 2);
        curves.push(s("path", { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }));
      }
    }
    this.lines.replaceChildren(...curves);
  }

  #count(chains) {
    const silent = chains.length && chains.every((chain) => chain.rules.every(({ packets }) => packets === null));
    words(this.hint, silent ? "This mode's rules count nothing, as upstream: here are the connections that conntrack knows. Click a chain to read its rules." : "Counters are live; click a chain to read its rules.");
    for (const chain of chains) {
      const card = this.cards?.get(chain.name)?.card;
      if (!card) continue;
      const counted = chain.rules.filter(({ packets }) => packets !== null);
      const sum = counted.reduce((total, { packets }) => total + packets, 0);
      const head = card.querySelector("summary .count");
      const tracked = chain.connections;
      const text = counted.length ? plural(sum, "packet") : tracked === null ? "" : plural(tracked, "connection");
      if (head.textContent && head.textContent !== text) {
        card.classList.remove("moved");
        void card.offsetWidth; // begin the animation anew
        card.classList.add("moved");
      }
      words(head, text);
      chain.rules.forEach(({ packets }, i) => words(card.querySelectorAll("li .count")[i], packets === null ? "" : `${packets}`));
    }
  }
}

function plural(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}
