// Renders the OpenAPI document with Swagger UI.
"use strict";

window.ui = window.SwaggerUIBundle({
  url: document.getElementById("reader").dataset.document,
  dom_id: "#reader",
  deepLinking: true,
  validatorUrl: null, // it would ask a stranger's server
  persistAuthorization: false,
});
