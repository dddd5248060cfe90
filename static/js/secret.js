// Warns before leaving while the secret has not been copied or declared saved: first a link says so on the page, and
// whoever goes on, or closes the tab, is asked by the browser.
{
  // This page answers a form and is shown once. Its place in the history becomes the page that comes next, so that
  // "Back" and a reload never ask the browser for an answer that is not kept (ERR_CACHE_MISS).
  history.replaceState(null, "", document.querySelector("[data-saved]").href);
  const warning = document.querySelector("[data-unsaved]");
  let saved = false;
  const save = () => {
    saved = true;
    warning.hidden = true;
  };
  document.addEventListener("copied", save);
  document.addEventListener("copy", save);
  document.querySelector("[data-saved]").addEventListener("click", save);
  document.addEventListener("click", (event) => {
    if (saved || !warning.hidden || !event.target.closest("a[href]:not([href^='#'])")) return;
    event.preventDefault();
    warning.hidden = false;
    document.querySelector("[data-secret] .copy").focus();
  });
  addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
}
