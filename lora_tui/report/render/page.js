(function () {
  var tip = document.getElementById("tip");
  function show(number) {
    var size = Math.abs(number);
    if (number === Math.round(number) && size < 1e7) return String(number);
    if (size < 1e-3 || size >= 1e7) return number.toExponential(2);
    return String(Number(number.toPrecision(size >= 1e4 ? 7 : 5)));
  }
  function near(points, x) {
    var low = 0, high = points.length - 1;
    while (high - low > 1) {
      var middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    return x - points[low][0] < points[high][0] - x ? low : high;
  }
  document.querySelectorAll("svg.chart").forEach(function (chart) {
    var data = JSON.parse(chart.getAttribute("data-curves")), line = chart.querySelector(".here");
    var begin = data.left, width = data.width, from = data.from, to = data.to;
    function hide() { tip.style.display = "none"; line.style.visibility = "hidden"; }
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("pointermove", function (event) {
      var matrix = chart.getScreenCTM();
      var left = (event.clientX - matrix.e) / matrix.a;
      if (left < begin - 8 || left > begin + width + 8) return hide();
      var x = from + (left - begin) / width * (to - from), best = null;
      data.curves.forEach(function (curve) {
        if (!curve.points.length) return;
        var at = curve.points[near(curve.points, x)][0];
        if (best === null || Math.abs(at - x) < Math.abs(best - x)) best = at;
      });
      if (best === null) return hide();
      tip.textContent = "";
      var head = document.createElement("div");
      head.className = "muted";
      head.textContent = data.x + " " + show(best);
      tip.appendChild(head);
      data.curves.forEach(function (curve) {
        if (!curve.points.length) return;
        var point = curve.points[near(curve.points, best)];
        if (Math.abs(point[0] - best) > curve.reach) return;
        var row = document.createElement("div"), dot = document.createElement("b");
        dot.style.background = "var(--s" + curve.color + ")";
        row.appendChild(dot);
        row.appendChild(document.createTextNode(curve.name + "  " + show(point[1]) +
          (point[0] === best ? "" : "  (" + data.x + " " + show(point[0]) + ")")));
        tip.appendChild(row);
      });
      var place = begin + (best - from) / (to - from) * width;
      line.setAttribute("x1", place); line.setAttribute("x2", place); line.style.visibility = "visible";
      tip.style.display = "block";
      var right = event.clientX + 16, below = event.clientY + 16;
      if (right + tip.offsetWidth > window.innerWidth - 8) right = event.clientX - tip.offsetWidth - 16;
      if (below + tip.offsetHeight > window.innerHeight - 8) below = event.clientY - tip.offsetHeight - 16;
      tip.style.left = Math.max(4, right) + "px"; tip.style.top = Math.max(4, below) + "px";
    });
  });
})();
