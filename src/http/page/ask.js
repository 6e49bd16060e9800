// Questions that stand before everything else: the token, and whether something is meant.

import { button, h, say } from "./dom.js";

/** Opens a dialog that takes itself away once it is closed. The browser keeps the focus in it and gives it back. */
export function open(dialog) {
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
  return dialog;
}

/** The head of a dialog: its title, which names it, and a way out. */
export function heading(text, id, dialog) {
  const close = h("button", { type: "button", class: "quiet square", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => dialog().close());
  return h("header", {}, h("h2", { id }, text), close);
}

/** Asks for a token whenever the session wants one. */
export function askForTokens(session) {
  let shown = null;
  const update = () => {
    if (session.wanted === null) shown?.dialog.close();
    else shown ??= tokenDialog(session, () => (shown = null));
    if (session.wanted !== null) shown.tell(session.wanted);
  };
  session.addEventListener("change", update);
  update();
}

function tokenDialog(session, onClose) {
  const reason = h("p", { class: "error", role: "alert", id: "token-error" });
  const input = h("input", {
    type: "password",
    id: "token",
    autocomplete: "current-password",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-help token-error",
  });
  const hadToken = session.token !== null;
  const submit = (event) => {
    event.preventDefault();
    if (input.value.trim()) session.use(input.value.trim());
  };
  const form = h(
    "form",
    { onsubmit: submit, class: "fields" },
    h("label", { for: "token" }, "Token"),
    input,
    h("p", { class: "help", id: "token-help" },
      "The server's owner makes one with ", h("code", {}, "centerx token new"),
      ". It is kept until this tab is closed."),
    reason,
    h("footer", {}, h("button", { type: "submit", class: "primary" }, "Sign in")),
  );
  const title = h("h2", { id: "token-title" }, hadToken ? "The token was refused" : "This server asks for a token");
  const dialog = h("dialog", { class: "narrow", "aria-labelledby": "token-title" }, h("header", {}, title), form);
  // There is nothing to see without.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", onClose);
  open(dialog);
  input.focus();
  return { dialog, tell: (wanted) => say(reason, hadToken ? sentence(wanted) : "") };
}

/** Asks whether something is meant; the promise tells. */
export function confirmed(title, text, verb) {
  return new Promise((resolve) => {
    const cancel = button("Cancel", { onclick: () => dialog.close() });
    const go = button(verb, { class: "danger", onclick: () => dialog.close("go") });
    const dialog = h("dialog", { class: "narrow", role: "alertdialog", "aria-labelledby": "confirm-title",
      "aria-describedby": "confirm-text" },
      h("header", {}, h("h2", { id: "confirm-title" }, title)),
      h("p", { id: "confirm-text" }, text),
      h("footer", {}, cancel, go));
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"));
    open(dialog);
    cancel.focus();
  });
}

/** What the server says, as a sentence. */
export function sentence(text) {
  if (!text) return "";
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
