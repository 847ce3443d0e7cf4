// Colours come as data: the page's policy allows no inline style.
for (const swatch of document.querySelectorAll(".swatch[data-colour]")) {
  const parts = swatch.dataset.colour.split(",").map(Number);
  if (parts.length >= 3 && parts.every(Number.isFinite)) {
    const bytes = parts.slice(0, 3).map((p) => (parts.every((q) => q <= 1) ? Math.round(p * 255) : p));
    swatch.style.background = `rgb(${bytes.join(",")})`;
  }
}
