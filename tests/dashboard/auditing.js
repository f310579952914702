// What is wrong with the page as it is drawn now: too small, too faint, too wide, without a name.
const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length > 0;
const path = (element) => `${element.tagName.toLowerCase()}${element.id ? "#" + element.id : ""}.${element.getAttribute("class") || ""} "${(element.textContent || "").trim().slice(0, 30)}"`;
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const pixel = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ground = (element) => {
  const above = element.parentElement ? ground(element.parentElement) : [255, 255, 255, 1];
  return over(pixel(getComputedStyle(element).backgroundColor), above);
};
const faults = [];
if (document.scrollingElement.scrollWidth > innerWidth) {
  faults.push(`the page is ${document.scrollingElement.scrollWidth} wide`);
  for (const element of document.querySelectorAll("body *"))
    if (seen(element) && element.getBoundingClientRect().right > innerWidth + 1 && !element.closest(".scroll")) faults.push(`too wide: ${path(element)}`);
}
for (const element of document.querySelectorAll("body *")) {
  const words = [...element.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim()).length || element.matches("input, select");
  if (!words || !seen(element) || element.matches("option, script, noscript") || element.closest("thead") && innerWidth < 641) continue;
  const style = getComputedStyle(element), inRing = element.ownerSVGElement;
  const size = parseFloat(style.fontSize) * (inRing ? inRing.getBoundingClientRect().width / 224 : 1);
  if (size < 12.9) faults.push(`${size.toFixed(1)} px: ${path(element)}`);
  const below = ground(element), ink = over(pixel(inRing ? style.fill : style.color), below);
  const [a, b] = [light(ink), light(below)], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < (size >= 24 ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${path(element)}`);
}
for (const swatch of document.querySelectorAll(".swatch")) {
  const [a, b] = [light(ground(swatch)), light(ground(swatch.parentElement))], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (seen(swatch) && ratio < 2.5) faults.push(`swatch ${ratio.toFixed(2)}: ${path(swatch.parentElement)}`);
}
return [...new Set(faults)];
