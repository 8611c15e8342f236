/** A topic's page, in French. */
export default {
  "Messages kept": "Messages gardés",
  "{rate} a second": "{rate} par seconde",
  "beginnings of words": "débuts de mots",
  "any": "n'importe lequel",
  "Find": "Trouver",
  "Go to #": "Aller au n°",
  "Go": "Aller",
  "Older and newer messages": "Messages plus anciens et plus récents",
  "Newer": "Plus récents",
  "Newest messages": "Les messages les plus récents",
  "Up to #{number}": "Jusqu'au n° {number}",
  "Found": "Trouvés",
  "Nothing was published on this topic yet. Publish the first message:":
    "Rien n'a encore été publié sur ce sujet. Publiez le premier message :",
  "No message is like that. Each word must begin some word of the message.":
    "Aucun message ne correspond. Chaque mot doit commencer un mot du message.",
  "#{at} was deleted by retention; the first one kept is #{first}.":
    "Le n° {at} a été supprimé ; le premier gardé est le n° {first}.",
  "Go there": "Y aller",
  "A sequence is a whole number from 1.": "Un numéro est un entier à partir de 1.",
  "Only messages of {producer}": "Seulement les messages de {producer}",
  "Who got it": "Qui l'a reçu",
  "Copy JSON": "Copier JSON",
  "Copy as curl": "Copier curl",
  "State": "État",
  "Sent": "Envoyé",
  "pending": "en attente",
  "confirmed": "confirmé",
  "No consumer with a name was sent this message, and none waits for it.":
    "Aucun consommateur nommé n'a reçu ce message, et aucun ne l'attend.",
  "Why did this consumer get it, or not?": "Pourquoi ce consommateur l'a-t-il reçu, ou non ?",
  "consumer": "consommateur",
  "Explain": "Expliquer",
  "Not subscribed": "Non abonné",
  "Too slow": "Trop lent",
  "Deleted": "Supprimé",
  "Not allowed": "Non autorisé",
  "Unknown": "Inconnu",
  "It had not subscribed to this topic yet": "Il ne s'était pas encore abonné à ce sujet",
  "The consumer confirmed it": "Le consommateur l'a confirmé",
  "It was sent, and the consumer has not confirmed it": "Il a été envoyé, et le consommateur ne l'a pas confirmé",
  "Its connection took messages too slowly and was closed before this":
    "Sa connexion prenait les messages trop lentement et a été fermée avant celui-ci",
  "It was not connected then; it gets this by subscribing with after: \"consumed\"":
    "Il n'était pas connecté alors ; il l'aura en s'abonnant avec after: \"consumed\"",
  "No message was ever published at this sequence": "Aucun message n'a jamais été publié à ce numéro",
};
