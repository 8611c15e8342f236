// Before anything is drawn, and so not a module: the theme that the reader chose here.
document.documentElement.dataset.theme = localStorage.getItem("pubsub-theme") ?? "system";
