// Runs before the first paint, so that a chosen theme does not flash; everything else is in modules.
(() => {
  try {
    const theme = localStorage.getItem("weir.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // A browser that keeps nothing follows the system's theme.
  }
})();
