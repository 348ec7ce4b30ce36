// What htmx does not do: count down, and stop asking while nobody looks.
"use strict";

(function () {
  function left(seconds) {
    if (seconds <= 0) return "time is over";
    const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60, rest = seconds % 60;
    const two = (number) => String(number).padStart(2, "0");
    return (hours ? hours + ":" + two(minutes) + ":" + two(rest) : minutes + ":" + two(rest)) + " left";
  }

  // The server's clock counts: what this machine's clock differs by is measured once per element.
  function tick() {
    for (const each of document.querySelectorAll("time[data-until]")) {
      if (!each.skew) each.skew = Number(each.dataset.now) - Date.now() || 1;
      const text = left(Math.ceil((Number(each.dataset.until) - Date.now() - each.skew) / 1000));
      if (each.textContent !== text) {
        each.title = each.title || each.textContent;
        each.textContent = text;
      }
    }
  }

  tick();
  setInterval(tick, 1000);
  document.body.addEventListener("htmx:afterSwap", tick);
  document.body.addEventListener("htmx:beforeRequest", function (event) {
    if (document.hidden && event.target.hasAttribute("data-live")) event.preventDefault();
  });

  // A button that is replaced while it is held down has not been pressed: news wait for the next time that is asked for them.
  document.body.addEventListener("htmx:beforeSwap", function (event) {
    if (event.detail.target.querySelector("button:active, form[data-sent]")) event.detail.shouldSwap = false;
  });

  // A second press of a button is not a second answer.
  document.addEventListener("submit", function (event) {
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", function () {
    for (const each of document.forms) delete each.dataset.sent;
  });

  const fault = document.getElementById("fault");
  if (fault) fault.focus();
})();
