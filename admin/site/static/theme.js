// Before the page is drawn: dark or light, as its reader chose or as their system says.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    if (!root.dataset.theme) root.dataset.bsTheme = dark.matches ? "dark" : "light";
    root.classList.toggle("dark-mode", root.dataset.bsTheme === "dark");  // the API viewer's word for it
  };
  show();
  dark.addEventListener("change", show);
})();
