document.getElementById("where").textContent = location.host;
