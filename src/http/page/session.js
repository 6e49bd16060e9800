// Who uses the page: the token, for as long as the browser's tab lives, and whether it may change anything.

const KEY = "centerx.token";

/** Tells of a `change` of the token or of what it allows. */
export class Session extends EventTarget {
  #store;
  #waiting;
  /** Why nothing can be changed; null as long as nobody said so. */
  readOnly = null;
  /** Why the server wants a token, or another one; null if it does not. */
  wanted = null;

  /** `store` is sessionStorage, or something like it. */
  constructor(store) {
    super();
    this.#store = store;
  }

  get token() {
    return this.#store.getItem(KEY);
  }

  /** Another token, or none. */
  use(token) {
    if (token) this.#store.setItem(KEY, token);
    else this.#store.removeItem(KEY);
    this.readOnly = null;
    this.wanted = null;
    this.#tell();
    this.#waiting?.resolve();
    this.#waiting = null;
  }

  /** The server refused this token, for this reason. Resolves once there is another one. */
  refused(token, reason) {
    // A call that was under way when another token came.
    if (token !== this.token) return Promise.resolve();
    this.#waiting ??= deferred();
    if (this.wanted === null) {
      this.wanted = reason;
      this.#tell();
    }
    return this.#waiting.promise;
  }

  /** The token does not allow changes, for this reason. */
  forbidden(reason) {
    if (this.readOnly !== null) return;
    this.readOnly = reason;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
