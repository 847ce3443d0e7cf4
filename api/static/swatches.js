// The color of each swatch, from its data-color attribute: "255,200,0", or parts from 0 to 1. The page's content
// security policy allows no style attribute.
for (const swatch of document.querySelectorAll('.swatch[data-color]')) {
  const parts = swatch.dataset.color.split(',').map(Number);

  if (parts.length >= 3 && parts.every(Number.isFinite)) {
    const scale = parts.every(part => part <= 1) ? 255 : 1;
    const channels = parts.slice(0, 3).map(part => Math.round(part * scale));
    swatch.style.background = `rgb(${channels.join(',')})`;
  }
}
