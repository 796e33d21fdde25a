(() => {
  const sheet = document.getElementById("sheet");
  const slider = document.getElementById("slider");
  const controls = document.getElementById("controls");
  const contours = document.getElementById("contours");
  const slices = Array.from(sheet.querySelectorAll(".slice"));
  let shown = 0;
  const show = (wanted) => {
    const next = Math.min(Math.max(wanted, 0), slices.length - 1);
    const moved = next !== shown;
    shown = next;
    slices.forEach((slice, index) => slice.classList.toggle("shown", index === shown));
    slider.value = String(shown + 1);
    slider.setAttribute("aria-valuetext", "slice " + (shown + 1) + " of " + slices.length);
    return moved;
  };
  const keys = { ArrowUp: -1, ArrowLeft: -1, PageUp: -1, ArrowDown: 1, ArrowRight: 1, PageDown: 1 };
  slider.addEventListener("input", () => show(Number(slider.value) - 1));
  sheet.addEventListener("keydown", (event) => {
    const scrolling = sheet.classList.contains("scrolling");
    if (event.key === "c" && !event.ctrlKey && !event.metaKey) {
      contours.checked = !contours.checked;
    } else if (scrolling && event.key in keys) {
      show(shown + keys[event.key]);
    } else if (scrolling && (event.key === "Home" || event.key === "End")) {
      show(event.key === "Home" ? 0 : slices.length - 1);
    } else {
      return;
    }
    event.preventDefault();
  });
  // At either end the wheel scrolls the page again.
  sheet.addEventListener("wheel", (event) => {
    if (sheet.classList.contains("scrolling") && event.deltaY !== 0 && show(shown + Math.sign(event.deltaY))) {
      event.preventDefault();
    }
  }, { passive: false });
  document.getElementById("all").addEventListener("change", (event) => {
    sheet.classList.toggle("scrolling", !event.target.checked);
    slider.disabled = event.target.checked;
  });
  controls.classList.add("ready");
  sheet.classList.add("scrolling");
  sheet.tabIndex = 0;
  show(Math.floor((slices.length - 1) / 2));
})();
