// Renders the OpenAPI document with ReDoc.
"use strict";

window.Redoc.init(
  document.getElementById("reader").dataset.document,
  { disableSearch: true, hideDownloadButton: true, nativeScrollbars: true },
  document.getElementById("reader"),
);
