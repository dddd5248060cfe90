// Warns before leaving while the secret has neither been copied nor confirmed as saved: first on the page, then by the
// browser's own dialog.
{
  // This page is the response to a form and is shown once. Its history entry is replaced by the next page, so that
  // "Back" and a reload never request a response that is not stored (ERR_CACHE_MISS).
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
