// Light or dark, before anything is drawn: as the system says, or as was chosen with the button.
// Not a module, because modules wait until the page is there, and a white page at night is a fright.

(() => {
  const KEY = "centerx.theme";
  const system = matchMedia("(prefers-color-scheme: light)");
  const chosen = () => localStorage.getItem(KEY);
  const apply = () => {
    document.documentElement.dataset.theme = chosen() ?? (system.matches ? "light" : "dark");
    document.dispatchEvent(new Event("theme"));
  };
  system.addEventListener("change", apply);
  addEventListener("toggletheme", () => {
    localStorage.setItem(KEY, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    apply();
  });
  apply();
})();
