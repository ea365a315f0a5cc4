// Collections of the API that stay true: a list, then every change, over one WebSocket for the whole page.
// After an interruption each goes on from the resourceVersion it has seen last; nothing is missed, nothing read twice.

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 3000;

class Collection {
  constructor(live, number, path, as, changed) {
    Object.assign(this, { live, number, path, as, changed });
    this.items = new Map();
    this.columns = [];
    this.version = "";
    this.error = "";
    this.loaded = false;
  }

  close() {
    this.live.drop(this);
  }

  take(message) {
    this.error = message.error || "";
    if (message.list) this.#list(message.list);
    else if (message.event) this.#event(message.event);
    this.changed(this);
  }

  #list(list) {
    this.items = new Map();
    this.version = list.metadata?.resourceVersion || "";
    this.loaded = true;
    if (list.columnDefinitions) this.columns = list.columnDefinitions;
    for (const item of list.rows || list.items || []) this.items.set(this.#key(item), item);
  }

  #event({ type, object }) {
    const rows = object.rows || (object.kind === "Table" ? [] : [object]);
    if (object.columnDefinitions?.length) this.columns = object.columnDefinitions;
    for (const item of rows) {
      const metadata = (this.as === "table" ? item.object?.metadata : item.metadata) || {};
      if (metadata.resourceVersion) this.version = metadata.resourceVersion;
      if (type === "DELETED") this.items.delete(this.#key(item));
      else if (type !== "BOOKMARK") this.items.set(this.#key(item), item);
    }
  }

  #key(item) {
    const metadata = (this.as === "table" ? item.object?.metadata : item.metadata) || {};
    return `${metadata.namespace || ""}/${metadata.name}`;
  }
}

export class Live {
  constructor(changed) {
    this.changed = changed;
    this.state = "connecting";
    this.collections = new Map();
    this.next = 1;
    this.pause = FIRST_PAUSE;
    this.#connect();
  }

  follow(path, changed, as = "") {
    const collection = new Collection(this, this.next++, path, as, changed);
    this.collections.set(collection.number, collection);
    this.#open(collection);
    return collection;
  }

  drop(collection) {
    this.collections.delete(collection.number);
    this.#send({ close: collection.number });
  }

  #send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #open({ number, path, as, version }) {
    this.#send({ open: number, path, as, resourceVersion: version });
  }

  #say(state) {
    this.state = state;
    this.changed(state);
  }

  #connect() {
    this.socket = new WebSocket(`ws://${location.host}/live`);
    this.socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.#say("live");
      for (const collection of this.collections.values()) this.#open(collection);
    };
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.collections.get(message.id)?.take(message);
      const down = message.error !== undefined;
      if (down !== (this.state === "waiting")) this.#say(down ? "waiting" : "live");
    };
    this.socket.onclose = () => {
      this.#say("lost");
      setTimeout(() => this.#connect(), this.pause);
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    };
  }
}
