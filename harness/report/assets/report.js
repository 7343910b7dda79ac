"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  let ready = false;

  // Charts name their colours; the values are the page's custom properties, so that dark and light are in one place.
  const HEAT = { light: ["#fff7ec", "#fdd49e", "#fc8d59", "#c2331c", "#5b0a05"],
                 dark: ["#1b222b", "#5a2a1f", "#b24a20", "#f39a3d", "#ffe9b8"] };

  function palette() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue("--" + name).trim() || name;
  }

  function themed(value, color) {
    if (Array.isArray(value)) return value.map((item) => themed(item, color));
    if (value === null || typeof value !== "object") return value;
    const copy = {};
    for (const [key, item] of Object.entries(value)) {
      if (key === "colorscale") {
        const stops = dark.matches && !printing ? HEAT.dark : HEAT.light;
        copy[key] = stops.map((stop, i) => [i / (stops.length - 1), stop]);
      } else if (/color$/i.test(key) && typeof item === "string") {
        copy[key] = color(item);
      } else {
        copy[key] = themed(item, color);
      }
    }
    return copy;
  }

  function dressed(figure, place) {
    const color = palette();
    const layout = themed(figure.layout, color);
    const width = place.clientWidth;
    const narrow = width < 560;
    const axis = { gridcolor: color("grid"), linecolor: color("rule"), tickcolor: color("rule"), automargin: true };
    layout.xaxis = { ...axis, ...layout.xaxis };
    layout.yaxis = { ...axis, ...layout.yaxis };
    for (const side of [layout.xaxis, layout.yaxis]) {
      side.title = { ...side.title, standoff: 10, font: { size: 12, color: color("muted") } };
    }
    const room = width - (narrow ? 60 : 90);
    layout.annotations = (layout.annotations || []).filter(
      (note, i) => (figure.labels[i] ?? 1) * room > note.text.length * 6.2);
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: color("text") };
    layout.hoverlabel = { bgcolor: color("card"), bordercolor: color("rule"), font: { color: color("text") } };
    layout.margin = { l: 8, r: 12, t: 44, b: 40 };
    layout.legend = { orientation: "h", x: 0, y: 1.04, yanchor: "bottom", yref: "paper", ...layout.legend };
    const shown = figure.data.filter((trace) => trace.name && trace.showlegend !== false).length;
    layout.showlegend = shown > 1;
    if (layout.showlegend && layout.annotations.length) {
      layout.legend.y = 1.1;
      layout.margin.t = narrow ? 40 + 20 * shown : 66;
    }
    layout.hovermode = figure.data[0].type === "heatmap" ? "closest" : "x unified";
    if (layout.xaxis.type === "log" && layout.yaxis.type === "category") layout.hovermode = "closest";
    layout.dragmode = "zoom";
    layout.yaxis.fixedrange = true;
    if (narrow) {
      for (const trace of figure.data) if (trace.type === "heatmap") trace.showscale = false;
    }
    layout.width = width;
    layout.height = place.clientHeight;
    return { data: themed(figure.data, color), layout };
  }

  function draw(figure) {
    const place = document.getElementById(figure.id);
    const { data, layout } = dressed(figure, place);
    if (!place.classList.contains("drawn")) place.replaceChildren();
    Plotly.react(place, data, layout, { displayModeBar: false, showTips: false, doubleClick: "reset" });
    place.classList.add("drawn");
  }

  function redraw() {
    if (ready) figures.forEach(draw);
  }

  async function unpack() {
    const packed = document.getElementById("plotly");
    const bytes = Uint8Array.from(atob(packed.textContent), (char) => char.charCodeAt(0));
    packed.remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const library = document.createElement("script");
    library.textContent = await new Response(stream).text();
    document.head.append(library);
  }

  async function start() {
    try {
      await unpack();
    } catch (error) {
      for (const note of document.querySelectorAll(".placeholder")) {
        note.textContent = "This browser cannot unpack the charts; their numbers are in the tables below.";
      }
      return;
    }
    for (const figure of figures) {
      draw(figure);
      await new Promise((next) => setTimeout(next));
    }
    ready = true;
    document.documentElement.dataset.charts = "drawn";
    dark.addEventListener("change", redraw);
    let width = innerWidth;
    let waiting = 0;
    addEventListener("resize", () => {
      if (innerWidth === width || printing) return;
      width = innerWidth;
      clearTimeout(waiting);
      waiting = setTimeout(redraw, 120);
    });
    addEventListener("beforeprint", () => {
      printing = true;
      document.documentElement.classList.add("printing");
      redraw();
    });
    addEventListener("afterprint", () => {
      printing = false;
      document.documentElement.classList.remove("printing");
      redraw();
    });
  }

  start();
})();
