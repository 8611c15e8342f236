/** The demo, in French. */
export default {
  "Demo": "Démo",
  "Skip to the demo": "Aller à la démo",
  "Open this page in a second window as somebody else: what you do in one shows in the other.":
    "Ouvrez cette page dans une seconde fenêtre sous un autre nom : ce que vous faites dans l'une se voit dans l'autre.",
  "Notifications": "Notifications",
  "Nothing yet. Send yourself one, or have it sent from the other window.":
    "Rien encore. Envoyez-vous en une, ou depuis l'autre fenêtre.",
  "To whom": "À qui",
  "Title": "Titre",
  "A poll": "Un sondage",
  "What should we drink? Each of you has one vote on each, and may change it.":
    "Que boire ? Chacun a une voix pour chaque boisson, et peut la changer.",
  "A document:": "Un document :",
  "Write here; everybody who has it open sees it": "Écrivez ici ; tous ceux qui l'ont ouvert le voient",
  "Mark as read": "Marquer comme lue",
  "For it": "Pour",
  "Against it": "Contre",
  "Tea": "Thé",
  "Coffee": "Café",
  "Water": "Eau",
  "New: {title}": "Nouvelle : {title}",
  "Say to whom, and give it a title.": "Dites à qui, et donnez un titre.",
  "from {user}": "de {user}",
  "Share of votes for {name}": "Part des voix pour {name}",
  "{up} for it, {down} against it": "{up} pour, {down} contre",
  "Last written by {user}": "Écrit en dernier par {user}",
};
