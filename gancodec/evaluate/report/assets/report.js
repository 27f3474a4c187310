"use strict";
const byId = (id) => document.getElementById(id);

// Tables: click or Enter on a head sorts; what is absent stays last either way.
function sortBy(head) {
  const table = head.closest("table");
  const place = [...head.parentNode.children].indexOf(head);
  const rising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const value = (row) => {
    const cell = row.children[place];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.classList.contains("absent") ? null : cell.textContent;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return rising ? compare(a, b) : compare(b, a);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const head of document.querySelectorAll(".sortable thead th")) {
  head.addEventListener("click", () => sortBy(head));
  head.addEventListener("keydown", (event) => {
    if (event.key === "Enter") sortBy(head);
  });
}
byId("filter")?.addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of byId("summary").tBodies[0].rows) {
    const text = [...row.children].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});

// Side by side.
const samples = JSON.parse(byId("samples").textContent);
const ORIGINAL = "original";

function fill(select, labels, wanted) {
  select.replaceChildren(...labels.map((label, i) => new Option(label, i)));
  select.selectedIndex = Math.max(labels.indexOf(wanted), 0);
}
const chosen = (id) => byId(id).selectedOptions[0]?.textContent;
const sample = () => samples[byId("picture").selectedIndex];
const rate = () => sample().rates[byId("rate").selectedIndex];

function version(side) {
  if (chosen(side) === ORIGINAL || !rate()) return { codec: ORIGINAL, image: sample().original, figures: {}, note: "" };
  return rate().shown.find((shown) => shown.codec === chosen(side));
}

function caption(shown) {
  if (shown.codec === ORIGINAL) return ORIGINAL;
  const figures = Object.entries(shown.figures).filter(([, value]) => value !== null);
  const text = (value) => (typeof value === "string" ? value : value.toFixed(Math.abs(value) < 2 ? 4 : 2));
  const parts = figures.map(([name, value]) => `${name} ${text(value)}`);
  const size = shown.bytes === null ? [] : [`${shown.bytes} bytes`, `${shown.bpp.toFixed(4)} bpp`];
  return [shown.codec, ...size, ...parts].join(" · ");
}

function show(side) {
  const shown = version(side);
  const image = byId(`image-${side}`);
  image.style.visibility = shown.image ? "visible" : "hidden";
  if (shown.image) image.src = shown.image;
  byId(`absent-${side}`).textContent = shown.image ? "" : `${shown.codec}: ${shown.note}`;
  byId(`caption-${side}`).textContent = caption(shown);
}

function showMaps() {
  const found = sample().saliency ? [["saliency", sample().saliency]] : [];
  for (const shown of rate()?.shown ?? []) {
    if (shown.importance) found.push([`${shown.codec}: importance`, shown.importance]);
    if (shown.bits_map) found.push([`${shown.codec}: coded bits per block`, shown.bits_map]);
  }
  byId("maps").replaceChildren(
    ...found.map(([title, uri]) => {
      const figure = document.createElement("figure");
      const image = Object.assign(new Image(), { src: uri, alt: title });
      const text = document.createElement("figcaption");
      text.textContent = title;
      figure.append(text, image);
      return figure;
    }),
  );
}

function layOut() {
  const zoom = byId("zoom").value;
  const frame = byId("frame");
  const { width, height } = sample();
  frame.classList.toggle("pixelated", zoom === "2" || zoom === "4");
  frame.style.width = zoom === "fit" ? "100%" : `${width * zoom}px`;
  frame.style.aspectRatio = `${width} / ${height}`;
}

function slide(percent) {
  const place = Math.min(Math.max(percent, 0), 100);
  byId("slider").value = place;
  byId("image-left").style.clipPath = `inset(0 ${100 - place}% 0 0)`;
  byId("handle").style.left = `${place}%`;
}

function refresh() {
  show("left");
  show("right");
  showMaps();
  layOut();
}

function choosePicture() {
  const names = sample().rates.map(({ label }) => label);
  fill(byId("rate"), names, chosen("rate") ?? names[Math.min(1, names.length - 1)]);
  chooseRate();
}

function chooseRate() {
  const codecs = rate()?.shown.map(({ codec }) => codec) ?? [];
  const labels = [ORIGINAL, ...codecs];
  const before = [chosen("left") ?? codecs[0], chosen("right") ?? (codecs.includes("avif") ? "avif" : codecs[1])];
  fill(byId("left"), labels, before[0]);
  fill(byId("right"), labels, before[1] ?? ORIGINAL);
  refresh();
}

if (samples.length) {
  fill(byId("picture"), samples.map(({ name }) => name));
  byId("picture").addEventListener("change", choosePicture);
  byId("rate").addEventListener("change", chooseRate);
  for (const id of ["left", "right", "zoom"]) byId(id).addEventListener("change", refresh);
  byId("slider").addEventListener("input", (event) => slide(Number(event.target.value)));
  const frame = byId("frame");
  const follow = (event) => {
    const box = frame.getBoundingClientRect();
    slide((100 * (event.clientX - box.left)) / box.width);
  };
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  choosePicture();
  slide(50);
}
