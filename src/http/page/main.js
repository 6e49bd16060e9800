// Puts the page together: the session, the server, the views and the keys.

import { askForTokens } from "./ask.js";
import { Detail } from "./detail.js";
import { announce, h, mark, say } from "./dom.js";
import { Fleet } from "./fleet.js";
import { openForm } from "./form.js";
import { Client } from "./grpc.js";
import { Header } from "./header.js";
import { Models } from "./models.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { Viewer } from "./viewer.js";
import { Wall } from "./wall.js";
import * as words from "./words.js";

/** The page: one view at a time, chosen by the address after "#". */
class Page {
  #view = null;
  #lastCamera = null;

  constructor(schema) {
    this.session = new Session(sessionStorage);
    this.server = new Server(new Client(schema, () => this.session.token), this.session);
    this.fleet = new Fleet(this.server);
    this.viewer = new Viewer(this.server, { onPicture: () => {}, onError: () => this.fleet.refresh() });
    this.main = document.querySelector("main");
    askForTokens(this.session);
    const onSignOut = () => {
      this.session.use(null);
      location.reload();
    };
    new Header(document.querySelector("body > header"), { ...this, onAdd: () => this.add(), onSignOut });
    watchConnection(this.server, this.fleet);
    tellStates(this.fleet);
    addEventListener("hashchange", () => this.#go(true));
    addEventListener("keydown", (event) => this.#key(event));
    this.#go(false);
    this.fleet.run();
  }

  /** Opens the dialog for a new camera, and shows it on the wall once it is there. */
  add() {
    if (this.session.readOnly !== null || document.querySelector("dialog[open]")) return;
    const onSaved = (info) => {
      this.fleet.put(info);
      this.#lastCamera = info.camera.id;
      if (this.#view instanceof Wall) this.#view.focus(this.#lastCamera);
      else location.hash = "#/";
    };
    openForm({ server: this.server, fleet: this.fleet, onSaved });
  }

  #go(takeFocus) {
    const [, kind, id] = location.hash.split("/");
    this.#view?.close();
    this.#view = this.#make(kind, decodeURIComponent(id ?? ""));
    this.main.replaceChildren(this.#view.element);
    for (const link of document.querySelectorAll("nav a")) {
      mark(link, "aria-current", link.hash === (kind === "models" ? "#/models" : "#/") ? "page" : null);
    }
    if (takeFocus) this.#view.focus(this.#lastCamera);
  }

  #make(kind, id) {
    if (kind === "models") return new Models(this.fleet);
    if (kind !== "camera" || !id) return new Wall(this.fleet, this.viewer, { onAdd: () => this.add() });
    this.#lastCamera = id;
    return new Detail(id, this);
  }

  #key(event) {
    // Keys in a dialog are the dialog's, also while the focus is nowhere.
    const isTyping = event.target.closest?.("input, select, textarea") || document.querySelector("dialog[open]");
    if (isTyping || event.altKey || event.ctrlKey || event.metaKey) return;
    const actions = {
      Escape: () => (location.hash = "#/"),
      a: () => this.add(),
      t: () => dispatchEvent(new Event("toggletheme")),
      "/": () => document.querySelector('main input[type="search"]')?.focus(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }
}

/** A banner while the server is away. */
function watchConnection(server, fleet) {
  const text = h("span");
  const now = h("button", { type: "button", onclick: () => fleet.refresh() }, "Try now");
  const banner = document.getElementById("banner");
  banner.append(text, now);
  let timer;
  server.addEventListener("change", () => {
    clearInterval(timer);
    const { away } = server;
    banner.hidden = away === null;
    document.body.toggleAttribute("data-away", away !== null);
    if (away === null) return announce("The server is back");
    const show = () => {
      const left = Math.max(0, Math.ceil((fleet.nextAt - performance.now()) / 1000));
      say(text, `The server is away: ${away}. The pictures are the last ones that came. Next try in ${left} s.`);
    };
    announce(`The server is away: ${away}`);
    show();
    timer = setInterval(show, 500);
  });
}

/** Tells screen readers when a camera's state changes. */
function tellStates(fleet) {
  let before = null;
  fleet.addEventListener("change", () => {
    const now = new Map([...fleet.cameras].map(([id, { status }]) => [id, words.state(status).text]));
    const changed = [...now].filter(([id, text]) => before && before.get(id) !== text);
    if (changed.length > 0) announce(changed.map(([id, text]) => `${words.name(fleet.cameras.get(id).camera)}: ${text}`).join(", "));
    before = now;
  });
}

const schema = await fetch("/assets/schema.json").then((answer) => answer.json());
new Page(schema);
