"""How one network is laid over the devices of a run (``strategy=...``), and the processes for it.

Model, loss and data know nothing of it: a strategy takes the network that was built for one device
and changes it in place. All of them train what one device would train: a batch is global, dropout
draws the mask of the whole batch and takes its part, evaluation counts every image once, and a
checkpoint is the file that one device would write.

| module      | content                                                                        |
|-------------|--------------------------------------------------------------------------------|
| strategies  | what Lightning is given, and what each strategy asks of network and devices     |
| layout      | the changes to the network, layer by layer                                      |
| collectives | communication between layers, with its gradients                                |
| parts       | weights in parts: cut when a checkpoint is read, joined when one is written     |
| evaluation  | the whole network on every device, for validation and test                      |
| ranks       | the processes of a run: who is who, how they find each other and agree          |
| supervisor  | starts the processes of this machine and ends all when one fails                |
| member      | one of them, as the supervisor sees it                                          |
| heartbeat   | what each tells the supervisor                                                  |
| rank        | what each of them runs                                                          |
"""
