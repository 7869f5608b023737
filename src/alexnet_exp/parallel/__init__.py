"""How one network is laid over the devices of a run (``strategy=...``), and the processes for it.

Model, loss and data know nothing of it: a strategy takes the network that was built for one device
and changes it in place. All of them train what one device would train: a batch is global, dropout
draws the mask of the whole batch and takes its part, evaluation counts every image once, and a
checkpoint is the file that one device would write.

| module        | content                                                                      |
|---------------|------------------------------------------------------------------------------|
| placement     | which devices, and what each strategy asks of devices, network and batch     |
| strategies    | what Lightning is given; data_parallel and sharded are its strategies        |
| layout        | the changes to the network, layer by layer                                   |
| collectives   | communication between layers, with its gradients                             |
| parts         | weights in parts: cut when a checkpoint is read, joined when one is written  |
| whole         | the whole network on every device, for validation and test                   |
| team          | the processes of a run: who is who, how they meet and agree                  |
| launch        | starts those of this machine by torch's elastic launcher; rank is what runs  |
| watch         | where a process stands that hangs                                            |
"""
