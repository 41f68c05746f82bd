// Sets the chosen theme before the page is painted: a classic script, because modules run later.

try {
  const theme = localStorage.getItem("visavis.theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // A browser may refuse storage; the theme is then that of the system.
}
